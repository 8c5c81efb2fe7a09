"""What kernels that were timed one by one add to the latency of the networks that they are part of."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from latency_models.predict.kernels import Kernel
from latency_models.predict.predictor import Sample
from latency_models.predict.process import believed

Array = NDArray[np.float64]

Timed = list[tuple[Kernel, float]]

N_REWEIGHTED = 10
LEAST = 0.2
"""Of a network's latency that counts as its kernels'."""


def shares(samples: Sequence[Sample]) -> list[Timed]:
    """The kernels of measured networks, brought to their networks' latencies: they were timed at another moment, by
    another clock, and with warmer or colder caches."""
    return [_brought(one, one.seconds) for one in samples]


def transferred(samples: Sequence[Sample], singles: Sequence[Sequence[tuple[Kernel, float]]]) -> list[Timed]:
    """Kernels of networks that were measured, and of networks that were not, like those of another teacher.

    What networks take beyond the sum of their kernels is learned from the measured ones; kernels are brought to what
    is left of their networks' latencies, and those of the others to the same on average.

    Args:
        samples: measured networks with timed kernels.
        singles: of each network that was not measured its kernels and their seconds.
    """
    if not samples:
        return [list(one) for one in singles]
    constant_s, call_s, more = beyond(samples)
    of_samples = []
    for one in samples:
        left_s = one.seconds - constant_s - call_s * len(one.kernel_s)
        of_samples.append(_brought(one, max(left_s, LEAST * one.seconds)))
    return [*of_samples, *(_times(one, 1 + more) for one in singles)]


def beyond(samples: Sequence[Sample]) -> Array:
    """(3,) what networks take beyond the sum of their kernels: seconds, seconds for each kernel, a share of the sum.

    None is below zero, as a kernel takes no less time in a network than by itself. Non-negative least squares on
    relative errors, again and again with less weight where they are large.
    """
    seconds = np.array([one.seconds for one in samples])
    sums = np.array([_together(one) for one in samples])
    calls = np.array([float(len(one.kernel_s)) for one in samples])
    rows = np.column_stack([1e-6 / seconds, 1e-6 * calls / seconds, sums / seconds])
    wanted, weights = 1 - sums / seconds, np.ones(len(seconds))
    found = np.zeros(3)
    for _ in range(N_REWEIGHTED):
        found, _ = nnls(rows * weights[:, None], wanted * weights)
        off = wanted - rows @ found
        spread = 1.48 * float(np.median(np.abs(off))) + 1e-3
        weights = np.sqrt(believed(off / spread))
    return np.asarray(found * (1e-6, 1e-6, 1.0), dtype=np.float64)


def _brought(sample: Sample, seconds: float) -> Timed:
    """A network's kernels so that they take so long together."""
    return _times(sample.kernel_s, seconds / max(_together(sample), 1e-12))


def _together(sample: Sample) -> float:
    return sum(seconds for _, seconds in sample.kernel_s)


def _times(timed: Sequence[tuple[Kernel, float]], factor: float) -> Timed:
    return [(kernel, seconds * factor) for kernel, seconds in timed]
