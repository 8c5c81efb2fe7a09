"""Which students are worth training: those whose training is expected to push the fronts out furthest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.pareto import hypervolume

GAP_LEFT = (0.35, 0.7)
"""Share of the distance to the teacher's score that is left after a distillation of a repaired student, and after the
next one of a student that had one."""


@dataclass(frozen=True)
class Candidate:
    """An architecture as it is now.

    Attributes:
        name: of the architecture.
        points: by target, (latency as a share of the teacher's, score) in each precision that was measured.
    """

    name: str
    points: Mapping[str, Sequence[tuple[float, float]]]


def worth_training(
    candidates: Sequence[Candidate],
    teacher_score: float,
    floor: float,
    limits: Mapping[str, float],
    n: int,
    rung: int = 0,
    others: Sequence[Candidate] = (),
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
    """
    everyone = (*candidates, *others)
    chosen: list[Candidate] = []
    waiting = [one for one in candidates if _keeps(one, limits)]
    while waiting and len(chosen) < n:
        covered = _covered(everyone, chosen, teacher_score, floor, rung)
        gains = [_covered(everyone, [*chosen, one], teacher_score, floor, rung) - covered for one in waiting]
        best = max(range(len(waiting)), key=lambda i: (gains[i], _best_score(waiting[i])))
        if chosen and gains[best] <= 0 and any(_expected(one, teacher_score, rung) > floor for one in chosen):
            break
        chosen.append(waiting.pop(best))
    return [one.name for one in chosen]


def _keeps(one: Candidate, limits: Mapping[str, float]) -> bool:
    return any(ratio <= limits[label] for label, points in one.points.items() for ratio, _ in points)


def _best_score(one: Candidate) -> float:
    return max(score for points in one.points.values() for _, score in points)


def _expected(one: Candidate, teacher_score: float, rung: int) -> float:
    return _trained(_best_score(one), teacher_score, rung)


def _trained(score: float, teacher_score: float, rung: int) -> float:
    return max(score, teacher_score - GAP_LEFT[min(rung, len(GAP_LEFT) - 1)] * (teacher_score - score))


def _covered(
    candidates: Sequence[Candidate], trained: Sequence[Candidate], teacher_score: float, floor: float, rung: int
) -> float:
    """Sum of the hypervolumes of all targets."""
    names = {one.name for one in trained}
    total = 0.0
    for label in sorted({label for one in candidates for label in one.points}):
        points = [
            (ratio, _trained(score, teacher_score, rung) if one.name in names else score)
            for one in candidates
            for ratio, score in one.points.get(label, ())
        ]
        total += hypervolume(np.array(points), 1.0, floor)
    return total
