"""Where a search's time goes: wall and CPU seconds by phase, and the candidates that they brought."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import final

from nas.deadline import cpu_clock
from nas.ledger import Ledger
from nas.record import Record

FACT = "time_used"
SAVED_EVERY_S = 5.0


@dataclass(frozen=True)
class PhaseTime:
    """One phase, over all sessions of a run.

    Attributes:
        phase: its name.
        wall_s, cpu_s: seconds; CPU seconds are those of all the search's processes.
        n_built, n_timed, n_scored: candidates whose record it wrote, those with a latency, those with a score.
    """

    phase: str
    wall_s: float = 0.0
    cpu_s: float = 0.0
    n_built: int = 0
    n_timed: int = 0
    n_scored: int = 0


@final
class TimeUsed:
    """Adds up the seconds of a run's phases and keeps them in its ledger.

    Args:
        cpu_s, wall_s: clocks that only grow; a test brings its own.
    """

    def __init__(self, cpu_s: Callable[[], float] = cpu_clock, wall_s: Callable[[], float] = time.monotonic) -> None:
        self._clocks = wall_s, cpu_s
        self._last = wall_s(), cpu_s()
        self._unsaved_s = 0.0
        self._phase = "starting"
        self._times: dict[str, PhaseTime] = {}
        self._ledger: Ledger | None = None
        self._counted = 0, 0, 0

    def at(self, phase: str) -> None:
        """The search is in this phase now; what has passed since the last call belongs to the phase of then."""
        phase = phase or self._phase
        if phase == self._phase and self._clocks[0]() - self._last[0] < 1.0:
            return  # reading the CPU seconds of other processes takes a millisecond
        now = self._clocks[0](), self._clocks[1]()
        wall_s, cpu_s = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now
        self._unsaved_s += wall_s
        known = self._times.get(self._phase, PhaseTime(self._phase))
        counted = _counts(self._ledger.records()) if self._ledger is not None else (0, 0, 0)
        n_built, n_timed, n_scored = (new - old for new, old in zip(counted, self._counted, strict=True))
        self._counted = counted
        self._times[self._phase] = PhaseTime(
            self._phase,
            known.wall_s + wall_s,
            known.cpu_s + cpu_s,
            known.n_built + n_built,
            known.n_timed + n_timed,
            known.n_scored + n_scored,
        )
        if phase != self._phase or self._unsaved_s > SAVED_EVERY_S:
            self._save()
        self._phase = phase

    @contextmanager
    def kept_in(self, ledger: Ledger) -> Iterator[None]:
        """Goes on from the seconds that the ledger knows, and saves to it for as long as the context lasts."""
        for row in ledger.get_fact(FACT) or []:
            before, now = PhaseTime(*row), self._times.get(row[0], PhaseTime(row[0]))
            wall_s, cpu_s = before.wall_s + now.wall_s, before.cpu_s + now.cpu_s
            # In the order in which the phases were first met, the earlier session's first.
            self._times = {k: v for k, v in self._times.items() if k != row[0]}
            self._times[row[0]] = replace(before, wall_s=wall_s, cpu_s=cpu_s)
        self._ledger, self._counted = ledger, _counts(ledger.records())
        try:
            yield
            self.at("ended")
        finally:
            self._ledger = None

    @property
    def times(self) -> tuple[PhaseTime, ...]:
        """By phase, in the order in which they were first met."""
        return tuple(self._times.values())

    def _save(self) -> None:
        if self._ledger is not None:
            self._ledger.set_fact(FACT, [list(vars(one).values()) for one in self._times.values()])
            self._unsaved_s = 0.0


def in_all(times: Sequence[PhaseTime]) -> PhaseTime:
    """The sum of all phases."""
    columns = zip(*((t.wall_s, t.cpu_s, t.n_built, t.n_timed, t.n_scored) for t in times), strict=True)
    wall_s, cpu_s, *counts = (sum(column) for column in columns)
    return PhaseTime("in all", wall_s, cpu_s, *map(int, counts))


def _counts(records: Sequence[Record]) -> tuple[int, int, int]:
    """Candidates that were built, timed and scored; the teacher is none."""
    students = [record for record in records if record.recipe]
    timed = sum(record.latency is not None or bool(record.elsewhere) for record in students)
    return len(students), timed, sum(record.accuracy is not None for record in students)
