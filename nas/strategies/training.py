"""Which students are worth training, and how many: those that push the fronts out furthest in the time there is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.pareto import hypervolume

GAP_LEFT = 8.0
"""Over the root of the batches of a training: the share of the distance to the teacher's score that it leaves."""
STAYS, STAYS_SHORT, STAYS_MOST = 0.06, 20.0, 0.25
"""What it leaves besides, as a share of the distance from teacher to floor: the first, and the second over the batches,
together no more than the third."""
LONG = 1000
"""Batches of one training after which another student is worth more than what is expected, and may not come."""


@dataclass(frozen=True)
class Candidate:
    """An architecture as it is now.

    Attributes:
        name: of the architecture.
        points: by target, (latency as a share of the teacher's, score) in each precision that was measured.
    """

    name: str
    points: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class _Trained:
    """What is expected of a student after so much training."""

    teacher_score: float
    floor: float
    n_batches: float

    def score(self, before: float) -> float:
        """The score of a student that had this one."""
        gap = self.teacher_score - before
        stays = min(STAYS_MOST, STAYS + STAYS_SHORT / self.n_batches) * (self.teacher_score - self.floor)
        return max(before, self.teacher_score - min(1.0, GAP_LEFT / math.sqrt(self.n_batches)) * gap - stays)


def worth_training(
    candidates: Sequence[Candidate],
    teacher_score: float,
    floor: float,
    limits: Mapping[str, float],
    n_most: int,
    n_batches: float,
) -> list[str]:
    """Names of the architectures that together cover most if each is trained for an equal part of the time.

    For each number of them greedy subset selection by hypervolume (Guerreiro et al. 2016) over the points that are
    there and those that are expected. Few small students that are trained for long cover more than many: each has all
    that lies to the right of it.

    Args:
        candidates: each is part of the front as it is, trained or not.
        teacher_score: the teacher's.
        floor: score below which nothing counts; where all stay below it, the most accurate are named.
        limits: by target, the latency that a student must keep to in a precision to be trained.
        n_most: how many at the most; one at the least, where any keeps to a limit, and one more for every `LONG`.
        n_batches: that the teacher answers in the time for all trainings.
    """
    waiting = [one for one in candidates if _keeps(one, limits)]
    best: tuple[float, list[Candidate]] = (-math.inf, [])
    n_most = min(n_most, len(waiting))
    n_least = max(1, min(n_most, 1 + int(n_batches / LONG)))
    for n in range(n_least, n_most + 1):
        trained = _Trained(teacher_score, floor, max(n_batches / n, 1e-6))
        if all(trained.score(_best_score(one)) <= floor for one in waiting):
            break  # and the more so with less time for each
        chosen = _chosen(candidates, waiting, n, trained)
        best = max(best, (_covered(candidates, chosen, trained), chosen), key=lambda found: found[0])
    found = best[1] or sorted(waiting, key=_best_score, reverse=True)[:n_least]
    return [one.name for one in found]


def _chosen(
    candidates: Sequence[Candidate], waiting: Sequence[Candidate], n: int, trained: _Trained
) -> list[Candidate]:
    """One after the other the one that adds most; fewer than n where no other adds anything."""
    chosen: list[Candidate] = []
    covered = _covered(candidates, chosen, trained)
    while len(chosen) < n:
        left = [one for one in waiting if one not in chosen]
        gains = [_covered(candidates, [*chosen, one], trained) - covered for one in left]
        best = max(range(len(left)), key=lambda i: (gains[i], _best_score(left[i])))
        if chosen and gains[best] <= 0:
            break
        chosen.append(left[best])
        covered += gains[best]
    return chosen


def _keeps(one: Candidate, limits: Mapping[str, float]) -> bool:
    return any(ratio <= limits[label] for label, points in one.points.items() for ratio, _ in points)


def _best_score(one: Candidate) -> float:
    return max(score for points in one.points.values() for _, score in points)


def _covered(candidates: Sequence[Candidate], chosen: Sequence[Candidate], trained: _Trained) -> float:
    """Sum of the hypervolumes of all targets."""
    names = {one.name for one in chosen}
    total = 0.0
    for label in sorted({label for one in candidates for label in one.points}):
        points = [
            (ratio, trained.score(score) if one.name in names else score)
            for one in candidates
            for ratio, score in one.points.get(label, ())
        ]
        total += hypervolume(np.array(points), 1.0, trained.floor)
    return total
