import io

from rich.console import Console, RenderableType

from nas.front import table
from nas.fronts import fronts_of
from nas.fronts_table import tables
from nas.plane import TIMES
from tests.nas.records import RECORDS, SITES, TARGET, TEACHER
from tests.nas.several import BOARD, SEVERAL, SEVERAL_TEACHER, TARGETS, TVM


def rendered(what: RenderableType, width: int = 110) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(what)
    return [line.rstrip() for line in capture.get().replace(TIMES, "x").splitlines()]


def test_one_target_looks_as_it_always_did() -> None:
    fronts = fronts_of(RECORDS, TEACHER, [TARGET])
    assert rendered(tables(fronts, {TARGET: 0.2}, SITES)) == rendered(table(fronts[TARGET], 0.2, SITES))


def test_several_targets_have_a_table_each_and_one_of_the_gaps() -> None:
    lines = rendered(tables(fronts_of(SEVERAL, SEVERAL_TEACHER, TARGETS), dict.fromkeys(TARGETS, 0.4), SITES))
    headings = [TARGET, TVM, f"{BOARD} (not measured)", "Chosen for one target, run on another"]
    assert [line for line in lines if line in headings] == headings
    gaps = lines[lines.index(headings[-1]) :]
    assert gaps[3].split() == [TARGET, TVM, "0", "of", "5", "1.08x", "1.08x", "0.02", "pt", "0.02", "pt", "4"]
    assert gaps[6].split() == [TVM, BOARD, "~3", "of", "4", "~1.04x", "~1.15x", "~0.15", "pt", "~0.58", "pt"]
    assert f"~ on {BOARD}: estimate: median error 9 % where a clock could judge it" in gaps


def test_nothing_is_cut_off_in_a_narrow_terminal() -> None:
    text = "\n".join(rendered(tables(fronts_of(SEVERAL, SEVERAL_TEACHER, TARGETS)), width=80))
    assert "…" not in text
    assert "4.07x" in text


def test_empty_fronts_have_no_gaps() -> None:
    lines = rendered(tables(fronts_of([], SEVERAL_TEACHER, TARGETS[:2])))
    assert [line for line in lines if line in (TARGET, TVM)] == [TARGET, TVM]
    assert not any("Chosen for" in line for line in lines)
