from dataclasses import replace

from nas.fronts import Gaps, fronts_of, gaps_between
from nas.gap_words import CELLS, cells, in_words, missing
from nas.plane import TIMES
from tests.nas.records import MEMBERS, TARGET
from tests.nas.several import BOARD, NO_INT8, SEVERAL, SEVERAL_TEACHER, TARGETS, TVM

PAIRS = {(pair.chosen_for, pair.run_on): pair for pair in gaps_between(fronts_of(SEVERAL, SEVERAL_TEACHER, TARGETS))}


def plain(pair: Gaps) -> list[str]:
    return [cell.replace(TIMES, "x") for cell in cells(pair, True)]


def test_a_pair_in_words() -> None:
    assert in_words(PAIRS[TARGET, TVM], True) == (
        f"A student chosen for {TARGET} and run on {TVM} is 8 % slower than the one chosen there with at least its "
        "accuracy. At no more latency it loses 0.02 points."
    )
    assert in_words(PAIRS[BOARD, TVM], True) == (
        f"A student chosen for {BOARD} and run on {TVM} is as good as the one chosen there."
    )


def test_what_is_far_off_is_said_as_a_multiple() -> None:
    assert in_words(PAIRS[TVM, TARGET], True).replace(TIMES, "x") == (
        f"A student chosen for {TVM} and run on {TARGET} takes on average 2.93x and at worst 4.07x as long as the one "
        "chosen there with at least its accuracy. At no more latency it loses on average 1.01 points and at worst "
        "1.52 points."
    )


def test_estimates_are_marked_in_words_and_cells() -> None:
    assert in_words(PAIRS[TVM, BOARD], True) == (
        f"A student chosen for {TVM} and run on {BOARD}, by estimate, is on average ~4 % and at worst ~15 % slower "
        "than the one chosen there with at least its accuracy. At no more latency it loses on average ~0.15 points and "
        "at worst ~0.58 points."
    )
    row = dict(zip(CELLS, plain(PAIRS[TVM, BOARD]), strict=True))
    assert row == {
        "chosen for": TVM, "run on": BOARD, "on both": "~3 of 4", "latency: mean": "~1.04x", "latency: worst": "~1.15x",
        "lost: mean": "~0.15 pt", "lost: worst": "~0.58 pt", "none": "",
    }  # fmt: skip
    # Chosen by an estimate: who is on its front is an estimate too, the latency on the other target is not.
    assert plain(PAIRS[BOARD, TVM])[2:4] == ["~3 of 3", "1.00x"]


def test_who_has_no_figure_is_named() -> None:
    ids = ", ".join(member.id[:6] for member in MEMBERS[:4])
    assert missing(PAIRS[TARGET, TVM]) == [f"{TARGET} on {TVM}, no figure: {ids} ({NO_INT8})"]
    assert cells(PAIRS[TARGET, TVM], True)[-1] == "4"


def test_nothing_to_compare_is_said() -> None:
    refused = PAIRS[TARGET, TVM]
    nothing = replace(refused, gaps=tuple(gap for gap in refused.gaps if gap.missing))
    assert in_words(nothing, True) == f"No student chosen for {TARGET} can be compared on {TVM}."
    assert cells(nothing, True)[3:7] == ["—"] * 4
    assert in_words(Gaps(TARGET, TVM, ()), True) == f"No student was chosen for {TARGET}."


def test_a_users_own_metric_is_not_in_points() -> None:
    assert cells(PAIRS[TARGET, TVM], False)[5] == "0.0002"
