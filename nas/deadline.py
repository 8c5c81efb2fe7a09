"""The time budget of a run: the only reader of its clock, and of the calendar."""

import math
import time
from collections.abc import Callable
from datetime import datetime
from typing import final


def wall_clock() -> datetime:
    """Date and time with the local zone: for names and messages, never for measuring how long something took."""
    return datetime.now().astimezone()


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
