"""What README and docs/ tell users to type exists and works."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from nas.cli import _parser
from nas.config import Settings
from nas.loading import load_task
from nas.preflight import check

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/README.md")])


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def nas_commands() -> Iterator[str]:
    """Every `nas ...` that a page shows, continuation lines joined."""
    for page in PAGES:
        indented = re.findall(r"^ {4}(nas [^\\\n]*(?:\\\n[^\\\n]*)*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        for text in (*blocks(page, "sh"), *indented):
            for line in text.replace("\\\n", " ").splitlines():
                yield from (part for part in re.findall(r"(?:^|/)(nas [^#\n]+)", line))


def test_pages_are_found() -> None:
    assert [page.name for page in PAGES].count("README.md") == 4
    assert len(list(nas_commands())) >= 9


@pytest.mark.parametrize("command", sorted(set(nas_commands())))
def test_a_command_parses(command: str) -> None:
    _, *arguments = shlex.split(command.replace("<run>", "digits"))
    options = vars(_parser().parse_args(arguments))
    given = {name: value for name, value in options.items() if name in {field.name for field in fields(Settings)}}
    if arguments[0] == "search":
        Settings(**{name: value for name, value in given.items() if value is not None})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def test_every_setting_is_described() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "usage.md").read_text(encoding="utf-8"), re.MULTILINE)
    described = {name.replace("-", "_") for row in rows for name in re.findall(r"`([a-z-]+)`", row)}
    assert described == {field.name for field in fields(Settings)} - {"task_or_teacher"}


def test_the_complete_example(tmp_path: Path) -> None:
    for block in blocks(ROOT / "docs" / "usage.md", "python"):
        name = block.splitlines()[0].removeprefix("# ")
        (tmp_path / name).write_text(block, encoding="utf-8")
    # One thread: beside another busy process two are many times slower.
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    weights = tmp_path / "weights.safetensors"
    task = load_task(f"{tmp_path}/teacher.py:build", weights, f"{tmp_path}/data.py:make_data")
    assert check(task) == ()
    assert [len(split) for split in (task.data.train, task.data.validation, task.data.test)] == [1100, 300, 397]
    compile((tmp_path / "search.py").read_text(encoding="utf-8"), "search.py", "exec")
