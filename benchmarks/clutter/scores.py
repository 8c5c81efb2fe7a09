"""Files with what a re-timing found of them."""

import statistics
from collections.abc import Iterable

from clutter.hypervolume import Scored
from clutter.results import Point, Timing


def scored(points: Iterable[Point], timing: Timing) -> list[Scored]:
    """The points as latency ratio (median over passes) and test accuracy.

    Raises:
        KeyError: a file was not re-timed.
    """
    return [
        Scored(statistics.median(timing.files[point.digest].ratios), timing.files[point.digest].accuracy)
        for point in points
    ]
