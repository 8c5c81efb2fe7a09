import pytest

from nas.deadline import Deadline, wall_clock


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_time_passes() -> None:
    clock = Clock()
    deadline = Deadline(100.0, clock=clock)
    assert (deadline.elapsed_s(), deadline.left_s(), deadline.expired()) == (0.0, 100.0, False)
    clock.now += 60.0
    assert (deadline.elapsed_s(), deadline.left_s(), deadline.expired()) == (60.0, 40.0, False)
    clock.now += 50.0
    assert (deadline.elapsed_s(), deadline.left_s(), deadline.expired()) == (110.0, 0.0, True)


def test_what_an_interrupted_run_used_counts() -> None:
    clock = Clock()
    deadline = Deadline(100.0, spent_s=70.0, clock=clock)
    clock.now += 10.0
    assert (deadline.elapsed_s(), deadline.left_s()) == (80.0, 20.0)
    assert Deadline(100.0, spent_s=100.0, clock=clock).expired()


def test_a_share_is_of_the_whole_budget_but_no_more_than_is_left() -> None:
    clock = Clock()
    deadline = Deadline(100.0, clock=clock)
    clock.now += 60.0
    assert deadline.share(0.25) == 25.0
    assert deadline.share(0.5) == 40.0
    assert deadline.share(0.0) == 0.0
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        deadline.share(1.5)


@pytest.mark.parametrize(("budget_s", "spent_s"), [(0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (1.0, -1.0)])
def test_unsound_budgets_are_refused(budget_s: float, spent_s: float) -> None:
    with pytest.raises(ValueError, match="time"):
        Deadline(budget_s, spent_s)


def test_its_own_clock_runs() -> None:
    deadline = Deadline(1e-9)
    while not deadline.expired():
        pass
    assert deadline.elapsed_s() >= 1e-9


def test_the_wall_clock_knows_its_zone() -> None:
    assert wall_clock().utcoffset() is not None
