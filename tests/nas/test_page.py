import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nas.front import front_of
from nas.page import write_page
from tests.nas.records import FAILED, MEMBERS, RECORDS, SITES, TEACHER, make_student

EVIL = "</script><script>alert(1)</script>"


class Reader(HTMLParser):
    """Tags with their attributes, and the text outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data + " "


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


@pytest.fixture
def page(tmp_path: Path) -> Reader:
    facts = {"teacher": "fashion-mnist", "time spent": "4:52 of 5:00"}
    cards = {MEMBERS[0].id: "cards/of a&b.md"}
    front = front_of(RECORDS, TEACHER)
    return read(write_page(front, tmp_path / "a.html", facts, title="T", budget_ratio=0.2, sites=SITES, cards=cards))


def test_page_says_what_there_is_to_say(page: Reader) -> None:
    for record in (*MEMBERS, TEACHER):
        assert record.id in page.text
    for phrase in ("4:52 of 5:00", "5 of them on the front; 1 failed", "export: outputs differ by 0.3", "93.58 %"):
        assert phrase in page.text
    assert f"{MEMBERS[2].id} and {MEMBERS[3].id} are indistinguishable" in page.text
    assert "blocks.0.conv1 32 → 8 channels" in page.text


def test_page_links_the_model_cards(page: Reader) -> None:
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links == ["cards/of%20a%26b.md"]


def test_page_needs_no_network(page: Reader) -> None:
    assert not any("src" in attributes or tag == "link" for tag, attributes in page.tags)


def test_page_escapes_what_users_supply(tmp_path: Path) -> None:
    student = make_student({f"channels:{EVIL}": 8}, 0.9, 0.9, 0.5)
    front = front_of([student, FAILED], TEACHER, metric=EVIL)
    path = write_page(front, tmp_path / "a.html", {EVIL: EVIL}, title=EVIL, cards={student.id: f'"{EVIL}'})
    text = path.read_text(encoding="utf-8")
    assert EVIL not in text
    assert "<script>alert" not in text
    # Only plotly's own scripts: its settings, the library, and the figure.
    n_scripts = len(re.findall(r"<script[ >]", text))
    plain = write_page(front_of(RECORDS, TEACHER), tmp_path / "b.html", {}).read_text(encoding="utf-8")
    assert n_scripts == len(re.findall(r"<script[ >]", plain))


def test_page_of_an_empty_front(tmp_path: Path) -> None:
    page = read(write_page(front_of([FAILED], TEACHER), tmp_path / "a.html", {}))
    assert "0 scored, 0 of them on the front; 1 failed." in page.text
