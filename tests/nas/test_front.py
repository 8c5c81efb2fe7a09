import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from nas.errors import UserError
from nas.front import FRONT_COLUMNS, Front, fits_budget, front_of, latency_of, table
from nas.record import Record
from search_spaces.recipe import Recipe
from tests.nas.records import DOMINATED, FAILED, MEMBERS, RECORDS, SITES, TEACHER, make_latency, make_student
from tests.nas.several import BOARD, NO_FLOAT16, NO_INT8, SEVERAL, SEVERAL_TEACHER


@pytest.fixture
def front() -> Front:
    return front_of(RECORDS, TEACHER)


def rendered(front: Front, budget_ratio: float | None = None, width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(table(front, budget_ratio, SITES))
    return capture.get()


def test_members_are_what_no_other_beats(front: Front) -> None:
    assert front.members == MEMBERS
    assert front.dominated == DOMINATED
    assert front.failed == (FAILED,)
    assert front.target == "cpu-1t"


def test_a_record_without_a_test_score_is_no_member_of_a_tested_front() -> None:
    # 94 % on validation would beat everything, but it stands on another scale than the members' test scores.
    untested = make_student({"channels:blocks.3.conv1": 32}, 0.94, None, 0.05)
    assert untested in front_of([*RECORDS, untested], TEACHER).dominated
    assert front_of([*RECORDS, untested], TEACHER, test=False).members == (untested,)


def test_validation_scores_decide_until_the_test_set_was_touched() -> None:
    early = [replace(record, test_accuracy=None) for record in RECORDS]
    front = front_of(early, TEACHER)
    assert not front.tested
    assert [front.accuracy_of(record) for record in front.members] == [m.accuracy for m in MEMBERS]
    assert front.drop_of(front.members[0]) == pytest.approx(0.9372 - 0.9081)


def test_the_drop_of_an_untested_record_is_taken_on_the_validation_set(front: Front) -> None:
    assert front.drop_of(DOMINATED[1]) == pytest.approx(0.9372 - 0.9350)


def test_a_student_that_the_teacher_beats_is_no_member() -> None:
    slower = make_student({"depth:blocks.1": "drop"}, 0.93, 0.93, 1.2)
    assert front_of([slower], TEACHER).members == ()


def test_the_teacher_in_the_records_is_not_a_member(front: Front) -> None:
    assert front_of([*RECORDS, TEACHER], TEACHER) == front


def test_latencies_of_two_targets_are_not_mixed() -> None:
    latency = replace(make_latency(0.5), target="board")
    with pytest.raises(ValueError, match="board"):
        front_of([replace(MEMBERS[0], latency=latency)], TEACHER)


def test_refuses_a_teacher_without_scores_and_a_score_that_is_nan() -> None:
    with pytest.raises(ValueError, match="teacher has no scores"):
        front_of(RECORDS, Record(Recipe(), failure="export failed"))
    with pytest.raises(ValueError, match="finite"):
        front_of([replace(MEMBERS[0], test_accuracy=float("nan"))], TEACHER)


def test_frame_has_the_teacher_as_a_row_and_is_sorted_by_latency(front: Front) -> None:
    frame = front.frame()
    assert tuple(frame.columns) == FRONT_COLUMNS
    assert frame["id"].tolist() == [*(m.id for m in MEMBERS), "teacher"]
    assert np.all(np.diff(frame["latency_s"]) > 0)
    last = frame.iloc[-1]
    assert (last["accuracy"], last["latency_ratio"], last["precision"], last["recipe"]) == (
        0.9361,
        1.0,
        "float32",
        "{}",
    )
    assert frame.iloc[0]["precision"] == "int8"
    assert frame.iloc[0]["validation_accuracy"] == 0.9081


def test_a_predicted_latency_is_marked_and_its_error_named(front: Front) -> None:
    latency = replace(make_latency(0.082), source="predicted", known_error=0.09)
    other = front_of([replace(MEMBERS[0], latency=latency), *MEMBERS[1:]], TEACHER)
    frame = other.frame()
    said = "estimate: median error 9 % where a clock could judge it"
    assert frame["note"].tolist()[:2] == [f"planned; {said}", "planned"]
    assert frame["latency_source"].tolist()[:2] == ["predicted", "measured"]
    assert frame["known_error"].tolist()[0] == 0.09
    lines = rendered(other, 0.1).splitlines()
    assert lines[0].split() == ["latency"]  # a heading of two lines
    assert "~ estimate" in lines[1]
    assert lines[2].split()[4:11] == ["~0.213", "ms", "~8.2", "±0.1", "%", "~12.20\N{MULTIPLICATION SIGN}", "~yes"]
    assert "~" not in lines[3]
    assert f"~ {said}" in [line.rstrip() for line in lines]
    assert "~" not in rendered(front)


def test_an_estimate_of_unknown_error_says_so_and_one_unknown_makes_all_unknown(front: Front) -> None:
    known = replace(make_latency(0.082), source="predicted", known_error=0.09)
    unknown = replace(make_latency(0.118), source="predicted")
    both = [replace(MEMBERS[0], latency=known), replace(MEMBERS[1], latency=unknown)]
    assert front_of(both, TEACHER).estimate == "estimate: error unknown"
    worse = [both[0], replace(MEMBERS[1], latency=replace(unknown, known_error=0.125))]
    assert front_of(worse, TEACHER).estimate.startswith("estimate: median error 12 %")
    assert not front.estimate
    assert front.latency_name == "latency"


def test_a_front_of_one_of_several_targets() -> None:
    front = front_of(SEVERAL, SEVERAL_TEACHER, target=BOARD)
    assert front.target == BOARD
    assert front.is_predicted
    assert front.heading == f"{BOARD} (not measured)"
    assert [round(latency_of(record).ratio, 2) for record in front.rows()] == [0.26, 0.27, 0.56, 1.0]
    assert {record.failure for record in front.failed} == {FAILED.failure, NO_INT8, None}  # None: was not timed there
    assert replace(front, teacher=SEVERAL_TEACHER).heading == "cpu-1t"


def test_the_first_target_is_the_default_and_names_its_refusals() -> None:
    front = front_of(SEVERAL, SEVERAL_TEACHER)
    assert front == front_of(SEVERAL, SEVERAL_TEACHER, target="cpu-1t")
    assert [member.id for member in front.members] == [member.id for member in MEMBERS]
    assert {record.failure for record in front.failed} == {FAILED.failure, NO_FLOAT16}


def test_refuses_a_target_on_which_the_teacher_was_not_timed() -> None:
    with pytest.raises(ValueError, match="teacher has no scores on board: not yet evaluated"):
        front_of(SEVERAL, SEVERAL_TEACHER, target="board")


def test_pick_by_what_is_wanted(front: Front) -> None:
    assert front.pick("accurate") == MEMBERS[4]
    assert front.pick("fastest") == MEMBERS[0]
    assert front.pick("fastest", max_accuracy_drop=0.015) == MEMBERS[1]
    assert front.pick("accurate", latency_budget_ratio=0.25) == MEMBERS[3]
    assert front.pick("accurate", latency_budget_s=0.4e-3) == MEMBERS[1]
    assert front.pick("fastest", max_accuracy_drop=0.01, latency_budget_ratio=0.25) == MEMBERS[2]


def test_a_drop_that_is_just_allowed_is_allowed() -> None:
    teacher = replace(TEACHER, test_accuracy=0.935)
    student = make_student({"depth:blocks.1": "drop"}, 0.93, 0.93, 0.5)
    assert 0.935 - 0.93 > 0.005
    assert front_of([student], teacher).pick(max_accuracy_drop=0.005) == student


def test_a_budget_is_met_by_the_upper_end_of_the_interval(front: Front) -> None:
    # The ratio .198 is below .2, the upper end of its interval is .204.
    assert front.pick("accurate", latency_budget_ratio=0.2) == MEMBERS[2]


def test_pick_by_id_or_its_unique_start(front: Front) -> None:
    assert front.pick(MEMBERS[2].id) == front.pick(MEMBERS[2].id[:6]) == MEMBERS[2]
    assert front.pick("teacher") == TEACHER
    with pytest.raises(UserError, match="No student of this front is called 'zz'"):
        front.pick("zz")


def test_an_id_start_of_two_students_is_refused_with_both_names() -> None:
    shallow, deep = make_student({"depth:blocks.1": "drop"}, 0.9, 0.9, 0.4), None
    deep = replace(shallow, rung=3, test_accuracy=0.92, latency=make_latency(0.5))
    front = front_of([shallow, deep], TEACHER)
    with pytest.raises(UserError, match=f"{shallow.id}, {deep.id}"):
        front.pick(shallow.recipe.digest)
    assert front.pick(deep.id) == deep


def test_nothing_qualifies_names_the_nearest_miss(front: Front) -> None:
    with pytest.raises(UserError, match=f"at most 5.0 % .* nearest miss is {MEMBERS[0].id}") as refused:
        front.pick("accurate", latency_budget_ratio=0.05)
    assert refused.value.exit_status == 1
    # Where some are accurate enough, the nearest is the fastest of those.
    with pytest.raises(UserError, match=f"nearest miss is {MEMBERS[2].id}"):
        front.pick("fastest", max_accuracy_drop=0.01, latency_budget_ratio=0.1)
    with pytest.raises(UserError, match=f"nearest miss is {MEMBERS[4].id}.*drop 0.03 points"):
        front.pick("fastest", max_accuracy_drop=0.0)
    with pytest.raises(UserError, match="asked for does not have an accuracy drop of at most 0"):
        front.pick(MEMBERS[0].id, max_accuracy_drop=0.001)


def test_an_empty_front_says_so() -> None:
    with pytest.raises(UserError, match="no students yet"):
        front_of([FAILED], TEACHER).pick()


def test_table_shows_figures_ties_and_the_budget(front: Front) -> None:
    lines = rendered(front, 0.2).splitlines()
    assert lines[1].split()[:9] == [MEMBERS[0].id[:6], "90.70", "%", "2.91", "0.213", "ms", "8.2", "±0.1", "%"]
    assert " 12.20\N{MULTIPLICATION SIGN} " in lines[1]
    assert " yes " in lines[1]
    tied = next(line for line in lines if line.startswith(MEMBERS[3].id[:6]))
    assert "≈ 0.515 ms" in tied
    assert " maybe " in tied
    assert "test set" in lines[-2]
    assert lines[-1].startswith("≈ latency indistinguishable from the row above")


def test_table_without_ties_has_no_note_about_them() -> None:
    assert "≈" not in rendered(front_of([MEMBERS[0], MEMBERS[4]], TEACHER))


def test_table_fits_a_narrow_terminal(front: Front) -> None:
    text = rendered(front, 0.2, width=80)
    assert "…" not in text
    assert "factorised" in text


def test_a_users_own_metric_is_not_shown_in_percent() -> None:
    front = front_of(RECORDS, TEACHER, metric="r2")
    assert "0.907 " in rendered(front)
    assert "90.70" not in rendered(front)


@pytest.mark.parametrize(("budget", "expected"), [(0.22, "yes"), (0.2, "maybe"), (0.18, "no")])
def test_fits_budget(budget: float, expected: str) -> None:
    assert fits_budget(make_latency(0.2, half_width=0.05), budget) == expected
