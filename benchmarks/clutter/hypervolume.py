"""The score: how much of a box below the teacher's latency and accuracy a set of points dominates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.pareto import hypervolume

BOXES_POINTS = (3, 5)
"""Accuracy, in percentage points below the teacher's, at which the two boxes end."""


@dataclass(frozen=True)
class Scored:
    """A point of a front.

    Attributes:
        ratio: latency as a share of the teacher's.
        accuracy: on the test set, a fraction.
    """

    ratio: float
    accuracy: float


def share_of_box(points: Sequence[Scored], teacher_accuracy: float, lost_points: float) -> float:
    """Share of the box latency ratio < 1, less than `lost_points` percentage points below the teacher.

    A point better than the teacher counts as equal to it.

    Args:
        points: in any order, dominated ones too.
        teacher_accuracy: on the same test set, a fraction.
        lost_points: height of the box.
    """
    if not points:
        return 0.0
    height = lost_points / 100
    pairs = np.array([[one.ratio, min(one.accuracy, teacher_accuracy)] for one in points])
    return hypervolume(pairs, 1.0, teacher_accuracy - height) / height
