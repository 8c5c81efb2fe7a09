"""The time budget of a run: the only reader of its clocks, and of the calendar."""

import math
import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import final

from nas.budget import TimeBudget
from nas.errors import UserError


def wall_clock() -> datetime:
    """Date and time with the local zone: for names and messages, never for measuring how long something took."""
    return datetime.now().astimezone()


def cpu_clock() -> float:
    """CPU seconds of this process, of the children it has waited for, and of all its descendants that run (Linux)."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system + _descendants_s(os.getpid())


def _descendants_s(pid: int) -> float:
    """CPU seconds of a process's living descendants; what one of them waited for is counted with it."""
    found = 0.0
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            names = children.read_text().split()
        except OSError:
            continue  # the thread has just ended
        for name in names:
            try:
                # Behind the command's name in parentheses, which may hold blanks: fields 14 to 17 of proc(5).
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found += sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK") + _descendants_s(int(name))
    return found


def deadline_of(budget: TimeBudget, spent_s: float = 0.0) -> "Deadline":
    """The deadline of a search that begins now.

    Raises:
        UserError: CPU time of other processes cannot be read here.
    """
    if not budget.of_cpu:
        return Deadline(budget.seconds, spent_s)
    if not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists():
        raise UserError("CPU time of all processes can only be counted on Linux.", "Leave out `cpu:`.")
    return Deadline(budget.seconds, spent_s, cpu_clock)


@final
class Deadline:
    """How much of the time budget is used, from the moment this object is made.

    Args:
        budget_s: seconds that the whole run may take, interruptions not counted.
        spent_s: seconds of it that the run had used before it was interrupted.
        clock: seconds that only grow; a test brings its own.
    """

    def __init__(self, budget_s: float, spent_s: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        if not (math.isfinite(budget_s) and budget_s > 0):
            raise ValueError(f"a time budget is positive and finite, got {budget_s} s")
        if not (math.isfinite(spent_s) and spent_s >= 0):
            raise ValueError(f"the time already used is finite and not negative, got {spent_s} s")
        self.budget_s = budget_s
        self._spent_s = spent_s
        self._clock = clock
        self._started = clock()

    def elapsed_s(self) -> float:
        """Seconds used so far, those before an interruption included."""
        return self._spent_s + self._clock() - self._started

    def left_s(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.budget_s - self.elapsed_s())

    def share(self, fraction: float) -> float:
        """Seconds of this fraction (0 to 1) of the whole budget, but no more than is left."""
        if not 0 <= fraction <= 1:
            raise ValueError(f"a share of the time budget lies in [0, 1], got {fraction}")
        return min(fraction * self.budget_s, self.left_s())

    def expired(self) -> bool:
        """Whether nothing is left."""
        return self.left_s() == 0.0
