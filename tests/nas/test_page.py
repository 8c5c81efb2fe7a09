import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nas.front import front_of
from nas.fronts import fronts_of
from nas.page import write_page
from tests.nas.records import FAILED, MEMBERS, RECORDS, SITES, TEACHER, make_student
from tests.nas.several import BOARD, HALF_NARROW, NO_INT8, SEVERAL, SEVERAL_TEACHER, TARGETS, TVM

EVIL = "</script><script>alert(1)</script>"


class Reader(HTMLParser):
    """Tags with their attributes, and the text outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.headings: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "h2":
            self.headings.append(data)
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
    ratios = {"cpu-1t": 0.2}
    path = tmp_path / "a.html"
    return read(write_page({"cpu-1t": front}, path, facts, title="T", budget_ratios=ratios, sites=SITES, cards=cards))


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
    path = write_page({"cpu-1t": front}, tmp_path / "a.html", {EVIL: EVIL}, title=EVIL, cards={student.id: f'"{EVIL}'})
    text = path.read_text(encoding="utf-8")
    assert EVIL not in text
    assert "<script>alert" not in text
    # Only plotly's own scripts: its settings, the library, and the figure.
    n_scripts = len(re.findall(r"<script[ >]", text))
    plain = write_page({"cpu-1t": front_of(RECORDS, TEACHER)}, tmp_path / "b.html", {}).read_text(encoding="utf-8")
    assert n_scripts == len(re.findall(r"<script[ >]", plain))


def test_page_of_an_empty_front(tmp_path: Path) -> None:
    page = read(write_page({"cpu-1t": front_of([FAILED], TEACHER)}, tmp_path / "a.html", {}))
    assert "0 scored, 0 of them on the front; 1 failed." in page.text


@pytest.fixture
def several(tmp_path: Path) -> Reader:
    fronts = fronts_of(SEVERAL, SEVERAL_TEACHER, TARGETS)
    cards = {HALF_NARROW.id: "cards/half.md"}
    ratios = dict.fromkeys(TARGETS, 0.4)
    return read(write_page(fronts, tmp_path / "a.html", {}, budget_ratios=ratios, sites=SITES, cards=cards))


def test_page_of_several_targets_has_a_section_and_a_plot_for_each(several: Reader) -> None:
    assert several.headings == [
        "cpu-1t", TVM, f"{BOARD} (not measured)", "Students", "Chosen for one target, run on another", "Run",
        "Candidates",
    ]  # fmt: skip
    assert [attributes["id"] for tag, attributes in several.tags if attributes.get("class") == "plotly-graph-div"] == [
        "front-0", "front-1", "front-2"
    ]  # fmt: skip


def test_page_says_of_every_estimate_that_it_is_one(several: Reader) -> None:
    assert several.text.count("estimate: median error 9 % where a clock could judge it") == 5
    assert "~6.67 ms" in several.text  # in the table of its front
    assert several.text.count("~27.0 %") == 5  # there, beside the other targets, and in three tables of gaps
    assert " 6.67 ms" not in several.text
    assert " 27.0 %" not in several.text
    assert "latency, estimate" in several.text


def test_page_tells_how_far_the_targets_are_from_each_other(several: Reader) -> None:
    assert (
        f"A student chosen for cpu-1t and run on {TVM} is 8 % slower than the one chosen there with at least its "
        "accuracy. At no more latency it loses 0.02 points."
    ) in several.text
    assert f"A student chosen for {BOARD} and run on {TVM} is as good as the one chosen there." in several.text
    assert f"cpu-1t on {TVM}, no figure: {MEMBERS[0].id}, " in several.text
    assert f"({NO_INT8})" in several.text
    assert [a["href"] for tag, a in several.tags if tag == "a"].count("cards/half.md") >= 3


def test_page_says_where_a_failure_holds(several: Reader) -> None:
    text = " ".join(several.text.split())
    assert "cpu-1t: 11 scored, 5 of them on the front; 3 failed." in text
    assert f"4 {NO_INT8} {TVM}, {BOARD}" in text
    assert text.endswith(" 1 export: outputs differ by 0.3")  # on every target, so nothing is said of where


def test_page_of_several_empty_fronts_has_nothing_to_compare(tmp_path: Path) -> None:
    fronts = fronts_of([FAILED], SEVERAL_TEACHER, TARGETS)
    page = read(write_page(fronts, tmp_path / "a.html", {}))
    assert page.headings == ["cpu-1t", TVM, f"{BOARD} (not measured)", "Run", "Candidates"]
