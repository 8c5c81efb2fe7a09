"""Which students are worth training: those whose training is expected to push the fronts out furthest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.pareto import hypervolume

GAP_LEFT = (0.3, 0.7)
"""Share of the distance to the teacher's score that is left after a distillation of a repaired student, and after the
next of one that had one."""
STAYS, STAYS_STEPS = 0.2, 125
"""Of the distance between teacher and floor: what a repaired student keeps besides, and steps that halve it."""


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
class _Left:
    """What a distillation is expected to leave of the distance to the teacher's score: a share of it and what stays."""

    teacher_score: float
    share: float
    stays: float

    def of(self, score: float) -> float:
        """The score that is expected of a student with this one."""
        return max(score, self.teacher_score - self.share * (self.teacher_score - score) - self.stays)


def worth_training(
    candidates: Sequence[Candidate],
    teacher_score: float,
    floor: float,
    limits: Mapping[str, float],
    n: int,
    rung: int = 0,
    others: Sequence[Candidate] = (),
    n_steps: float = 0.0,
) -> list[str]:
    """Names of up to n architectures, one after the other the one that adds most to what the others will cover.

    Greedy subset selection by hypervolume (Guerreiro et al. 2016) over the points that are there and those that are
    expected: training takes a share of the gap to the teacher. Ends early where no other is expected to add anything.

    Args:
        candidates: all of one rung; each is part of the front as it is, trained or not.
        teacher_score: the teacher's.
        floor: score below which nothing counts; where all stay below it, the most accurate are named.
        limits: by target, the latency that a student must keep to in a precision to be trained.
        n: how many.
        rung: 0 for repaired students, 1 for those that have been distilled.
        others: part of the front as they are, and not to be trained.
        n_steps: of training that each will have, about.
    """
    stays = STAYS / (1 + n_steps / STAYS_STEPS) * (teacher_score - floor) if rung == 0 else 0.0
    left = _Left(teacher_score, GAP_LEFT[min(rung, 1)], stays)
    everyone = (*candidates, *others)
    chosen: list[Candidate] = []
    waiting = [one for one in candidates if _keeps(one, limits)]
    while waiting and len(chosen) < n:
        covered = _covered(everyone, chosen, floor, left)
        gains = [_covered(everyone, [*chosen, one], floor, left) - covered for one in waiting]
        best = max(range(len(waiting)), key=lambda i: (gains[i], _best_score(waiting[i])))
        if chosen and gains[best] <= 0 and any(left.of(_best_score(one)) > floor for one in chosen):
            break
        chosen.append(waiting.pop(best))
    return [one.name for one in chosen]


def _keeps(one: Candidate, limits: Mapping[str, float]) -> bool:
    return any(ratio <= limits[label] for label, points in one.points.items() for ratio, _ in points)


def _best_score(one: Candidate) -> float:
    return max(score for points in one.points.values() for _, score in points)


def _covered(candidates: Sequence[Candidate], trained: Sequence[Candidate], floor: float, left: "_Left") -> float:
    """Sum of the hypervolumes of all targets."""
    names = {one.name for one in trained}
    total = 0.0
    for label in sorted({label for one in candidates for label in one.points}):
        points = [
            (ratio, left.of(score) if one.name in names else score)
            for one in candidates
            for ratio, score in one.points.get(label, ())
        ]
        total += hypervolume(np.array(points), 1.0, floor)
    return total
