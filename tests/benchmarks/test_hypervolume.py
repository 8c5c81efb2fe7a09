import pytest
from clutter.hypervolume import Scored, share_of_box

TEACHER = 0.96


def test_one_point_is_a_rectangle() -> None:
    # A quarter of the latency, one of three points lost: 3/4 of the width times 2/3 of the height.
    assert share_of_box([Scored(0.25, 0.95)], TEACHER, 3) == pytest.approx(0.5)
    assert share_of_box([Scored(0.25, 0.95)], TEACHER, 5) == pytest.approx(0.6)


def test_two_points_share_what_both_dominate() -> None:
    points = [Scored(0.5, 0.96), Scored(0.1, 0.945)]
    # 0.5 * 1 for the first; the second adds 0.4 of the width at half of the height.
    assert share_of_box(points, TEACHER, 3) == pytest.approx(0.7)
    assert share_of_box([*points, Scored(0.6, 0.955)], TEACHER, 3) == pytest.approx(0.7)


def test_better_than_the_teacher_counts_as_equal_to_it() -> None:
    assert share_of_box([Scored(0.2, 0.99)], TEACHER, 3) == pytest.approx(0.8)


def test_outside_the_box_is_nothing() -> None:
    assert share_of_box([], TEACHER, 3) == 0.0
    assert share_of_box([Scored(1.0, 0.96), Scored(0.1, 0.929), Scored(0.01, 0.5)], TEACHER, 3) == 0.0


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        share_of_box([Scored(float("nan"), 0.95)], TEACHER, 3)
