import subprocess
import sys
import time

import pytest

from nas.budget import TimeBudget
from nas.deadline import Deadline, cpu_clock, deadline_of, wall_clock


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


SPIN = "import time\nwhile time.process_time() < 0.3: pass\nprint('spun', flush=True)\ninput()"


def test_the_cpu_clock_counts_children_while_they_run_and_after() -> None:
    start_s = cpu_clock()
    with subprocess.Popen([sys.executable, "-c", SPIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"spun\n"
        running_s = cpu_clock() - start_s
        child.communicate(b"\n")
    assert running_s >= 0.28
    assert cpu_clock() - start_s >= running_s - 0.02


def test_a_budget_of_cpu_time_does_not_count_sleep() -> None:
    deadline = deadline_of(TimeBudget(100.0, of_cpu=True), spent_s=1.0)
    time.sleep(0.2)
    assert 1.0 <= deadline.elapsed_s() < 1.1
