from dataclasses import replace

import pytest

from nas.fronts import Gap, Gaps, fronts_of, gaps_between, members_of
from tests.nas.records import INT8, MEMBERS, TARGET, TEACHER, make_latency, make_student
from tests.nas.several import (
    BOARD,
    HALF_NARROW,
    HALF_TEACHER,
    NARROW,
    NO_INT8,
    SEVERAL,
    SEVERAL_TEACHER,
    TARGETS,
    TUCKER,
    TVM,
    everywhere,
    on_tvm,
)

FRONTS = fronts_of(SEVERAL, SEVERAL_TEACHER, TARGETS)


def pair(chosen_for: str, run_on: str) -> Gaps:
    return next(one for one in gaps_between(FRONTS) if (one.chosen_for, one.run_on) == (chosen_for, run_on))


def gap_of(gaps: Gaps, record_id: str) -> Gap:
    return next(gap for gap in gaps.gaps if gap.record.id == record_id)


def test_a_front_for_each_target_in_the_order_given() -> None:
    assert list(FRONTS) == list(TARGETS)
    assert [front.target for front in FRONTS.values()] == list(TARGETS)
    assert [m.id for m in FRONTS[TARGET].members] == [m.id for m in MEMBERS]
    assert [m.id for m in FRONTS[TVM].members][1:] == [NARROW.id, HALF_NARROW.id, HALF_TEACHER.id]


def test_a_run_has_a_target() -> None:
    with pytest.raises(ValueError, match="at least one target"):
        fronts_of(SEVERAL, SEVERAL_TEACHER, [])


def test_one_target_has_no_gaps() -> None:
    assert gaps_between({TARGET: FRONTS[TARGET]}) == ()


def test_a_gap_is_against_the_members_of_the_other_front() -> None:
    # On TVM the student has 78 % and .9358; the front there has .9360 at 72 %.
    gap = gap_of(pair(TARGET, TVM), TUCKER.id)
    assert gap.rival is not None
    assert gap.rival.id == HALF_TEACHER.id
    assert gap.slower == pytest.approx(0.78 / 0.72)
    assert gap.accuracy_lost == pytest.approx(0.9360 - 0.9358)
    assert gap.chosen.ratio == 0.61
    assert not gap.tied


def test_who_is_on_both_fronts_has_no_gap() -> None:
    gaps = pair(BOARD, TVM)
    assert [(gap.slower, gap.accuracy_lost) for gap in gaps.gaps] == [(1.0, 0.0)] * 3
    assert gaps.n_on_both == 3
    assert gaps.mean_slower == 1.0


def test_means_and_worst_are_over_those_that_were_compared() -> None:
    # Two of four run on the first target: 48 % against 11.8 %, and 34 % against 19 %.
    gaps = pair(TVM, TARGET)
    assert gaps.slower == pytest.approx((0.48 / 0.118, 0.34 / 0.19))
    assert gaps.mean_slower == pytest.approx((0.48 / 0.118 + 0.34 / 0.19) / 2)
    assert gaps.accuracy_lost == pytest.approx((0.9332 - 0.9180, 0.9332 - 0.9283))
    assert gaps.mean_accuracy_lost == pytest.approx((0.0152 + 0.0049) / 2)
    assert not gaps.estimate


def test_a_refused_member_is_named_with_the_reason() -> None:
    gaps = pair(TARGET, TVM)
    assert {reason: [one.id for one in records] for reason, records in gaps.missing.items()} == {
        NO_INT8: [member.id for member in MEMBERS[:4]]
    }
    assert gap_of(gaps, MEMBERS[0].id).slower is None


def test_the_teacher_may_be_the_only_rival() -> None:
    slow = everywhere(make_student({"depth:blocks.1": "drop"}, 0.93, 0.93, 0.5), 1.25, 1.0)
    (gap,) = gaps_between(fronts_of([slow], SEVERAL_TEACHER, TARGETS[:2]))[0].gaps
    assert gap.rival is not None
    assert (gap.rival.id, gap.slower) == ("teacher", pytest.approx(1.25))
    assert gap.accuracy_lost == pytest.approx(0.9361 - 0.93)


def test_overlapping_intervals_are_tied() -> None:
    fast = everywhere(make_student({"depth:blocks.1": "drop"}, 0.93, 0.93, 0.5), 0.3, 0.3)
    slow = replace(everywhere(make_student({"depth:blocks.3": "drop"}, 0.92, 0.92, 0.4), 0.303, 0.3))
    gaps = gaps_between(fronts_of([fast, slow], SEVERAL_TEACHER, TARGETS[:2]))[0]
    assert gap_of(gaps, slow.id).tied
    assert gap_of(gaps, slow.id).slower == pytest.approx(1.01)


def test_scores_on_two_sets_are_never_compared() -> None:
    # The first target has no tested student yet, the second has one.
    early = everywhere(make_student({"depth:blocks.1": "drop"}, 0.93, None, 0.5), 0.5, 0.5)
    tested = replace(make_student(INT8, 0.92, 0.92, 0.3), latency=None, elsewhere={TVM: on_tvm(0.3)})
    gaps = gaps_between(fronts_of([early, tested], SEVERAL_TEACHER, TARGETS[:2]))[0]
    assert gap_of(gaps, early.id).missing == "no score on the test set"


def test_estimates_are_named_on_both_sides() -> None:
    assert pair(TARGET, BOARD).estimate == "estimate: median error 9 % where a clock could judge it"
    assert pair(BOARD, TARGET).chosen_by_estimate
    assert not pair(BOARD, TARGET).estimate


def test_members_of_all_fronts_come_once_with_their_first_target() -> None:
    found = members_of(FRONTS)
    assert [label for label, _ in found] == [TARGET] * 5 + [TVM] * 4
    assert len({record.id for _, record in found}) == 9
    assert all(record.latency is not None and record.latency.target == label for label, record in found)


def test_a_gap_does_not_depend_on_the_latency_in_seconds() -> None:
    latency = replace(make_latency(1.0), median_s=1.0, low_s=1.0, high_s=1.0)
    slow_clock = replace(TEACHER, latency=latency, elsewhere=SEVERAL_TEACHER.elsewhere)
    there = gaps_between(fronts_of(SEVERAL, slow_clock, TARGETS))
    assert [pair.slower for pair in there] == [pair.slower for pair in gaps_between(FRONTS)]
