"""Rows of a report: every contender at every budget with its hypervolumes, from entries and timings."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clutter.hypervolume import BOXES_POINTS, Scored, share_of_box
from clutter.results import Entry, Point, Timing
from clutter.scores import scored


@dataclass(frozen=True)
class Row:
    """One contender at one budget.

    Attributes:
        contender: `understudy`, a peer.
        budget_s: CPU seconds allowed.
        n_seeds: runs.
        cpu_s: CPU seconds used, the median run.
        shares: hypervolumes of all runs, in the order of the seeds, by box.
        union: of the union's files in the same passes, by box; None where there is no union.
    """

    contender: str
    budget_s: float
    n_seeds: int
    cpu_s: float
    shares: Mapping[int, tuple[float, ...]]
    union: Mapping[int, float] | None

    def median(self, lost_points: int) -> float:
        """The median run's hypervolume."""
        return statistics.median(self.shares[lost_points])


def rows_of(entries: Sequence[Entry], timings: Mapping[float, Timing], union: Sequence[Point]) -> list[Row]:
    """One row for each contender and budget whose files were all timed, in the order of the entries.

    Args:
        entries: all there are.
        timings: by budget.
        union: files of all peers together.
    """
    groups: dict[tuple[float, str], list[Entry]] = {}
    for entry in entries:
        if is_timed(entry, timings):
            groups.setdefault((entry.budget_s, entry.contender), []).append(entry)
    rows = []
    for (budget_s, contender), group in groups.items():
        timing = timings[budget_s]
        teacher = timing.teacher_accuracy
        shares = {
            lost: tuple(share_of_box(scored(entry.points, timing), teacher, lost) for entry in group)
            for lost in BOXES_POINTS
        }
        of_union = {lost: share_of_box(scored(union, timing), teacher, lost) for lost in BOXES_POINTS}
        cpu_s = statistics.median(entry.cpu_s for entry in group)
        rows.append(Row(contender, budget_s, len(group), cpu_s, shares, of_union if union else None))
    return rows


def is_timed(entry: Entry, timings: Mapping[float, Timing]) -> bool:
    """Whether the timing of its budget covers all its files."""
    timing = timings.get(entry.budget_s)
    return timing is not None and all(point.digest in timing.files for point in entry.points)


def stairs(points: Sequence[Scored]) -> list[Scored]:
    """The points that no other beats, fastest first."""
    best: list[Scored] = []
    for point in sorted(points, key=lambda one: (one.ratio, -one.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best
