"""A price table: what a recipe's latency will be, learned from a few dozen measured students of the same teacher.

Additive over layers and non-negative, so that it extrapolates sanely: seconds = sum over layers of rates times
(one call, multiply-accumulates on the hardware's channel steps, activations read and written, weights read).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from latency_models.kernel import KernelTime
from search_spaces.cost import LayerCost

STEP = 16
"""Channels of one vector step; a width between two steps is priced as the wider one, mixed with its own size."""
_KINDS = ("conv", "pointwise", "depthwise", "linear")
USUAL_SHARES = (0.12, 0.35, 0.25, 0.23, 0.05)
"""Of a network's latency: calls, MACs on steps, MACs, activations, weights. What a price is taken for while too few
students have been measured to tell it from the others."""
PULL = 0.1
"""Towards the usual shares, divided by the number of measured students."""
N_FEATURES = 1 + 5 * len(_KINDS)


def features(layers: Sequence[LayerCost]) -> NDArray[np.float64]:
    """(N_FEATURES,) sums over layers: a constant, then for each kind of layer calls, MACs on steps, MACs, activation
    elements, weight elements."""
    values = np.zeros(N_FEATURES)
    values[0] = 1
    for layer in layers:
        start = 1 + 5 * _KINDS.index(layer.kind)
        n_in, n_out = layer.n_in // layer.groups, layer.n_out
        stepped = -(-n_in // STEP) * -(-n_out // STEP) * STEP * STEP if layer.groups == 1 else layer.n_macs
        macs = stepped * layer.kernel * layer.n_positions if layer.groups == 1 else layer.n_macs
        traffic = layer.n_in * layer.n_input_positions + n_out * layer.n_positions
        values[start : start + 5] += (1, macs, layer.n_macs, traffic, n_in * n_out * layer.kernel)
    return values


@dataclass(frozen=True, eq=False)
class Prices:
    """Latency as a share of the teacher's, for one precision.

    Attributes:
        rates: (N_FEATURES,) share of the teacher's latency for each unit of a feature.
        error: median relative error on the students it was learned from, each left out once in five folds.
    """

    rates: NDArray[np.float64]
    error: float

    def ratio(self, layers: Sequence[LayerCost]) -> float:
        """Predicted latency as a share of the teacher's."""
        return max(float(features(layers) @ self.rates), 1e-4)


@dataclass(frozen=True, eq=False)
class Priced:
    """A student that prices are learned from.

    Attributes:
        layers: of the student.
        ratio: its measured latency as a share of the teacher's.
        parts: output positions to the share of its latency that kernels on images of that size take, where its kernels
            were timed one by one.
    """

    layers: Sequence[LayerCost]
    ratio: float
    parts: Mapping[int, float] = field(default_factory=dict)


def parts_of(kernels: Sequence[KernelTime], layers: Sequence[LayerCost]) -> dict[int, float]:
    """What share of the time goes into images of each size, from the times of single kernels.

    A kernel belongs to a size by its output, whichever axis its channels are on and however they are padded.

    Args:
        kernels: of one network.
        layers: of the same.
    """
    sizes = {layer.n_positions for layer in layers}
    total_s = sum(kernel.seconds for kernel in kernels)
    shares: dict[int, float] = {}
    for kernel in kernels:
        options = [math.prod(kernel.shape[2:]), math.prod(kernel.shape[1:-1])] if len(kernel.shape) > 2 else [1]
        size = next((n for n in options if n in sizes), None)
        if size is not None and total_s > 0:
            shares[size] = shares.get(size, 0.0) + kernel.seconds / total_s
    return shares


def guess(student: Priced) -> Callable[[Sequence[LayerCost]], float]:
    """Latencies from one student alone, as shares of the teacher's: usual prices, scaled for images of each size to
    what the student's kernels took on them.

    Good enough to tell which of two layers takes longer; as cheap as can be.
    """
    row = features(student.layers)[None]
    usual = _usual(row, np.array([student.ratio]))

    def costs(layers: Sequence[LayerCost]) -> dict[int, float]:
        found: dict[int, float] = {}
        for layer in layers:
            found[layer.n_positions] = found.get(layer.n_positions, 0.0) + float(features([layer])[1:] @ usual[1:])
        return found

    own = costs(student.layers)
    scales = {size: share * student.ratio / own[size] for size, share in student.parts.items() if own.get(size)}
    return lambda layers: sum(cost * scales.get(size, 1.0) for size, cost in costs(layers).items())


def learn(students: Sequence[Priced]) -> Prices:
    """Non-negative least squares on relative errors (Lawson and Hanson 1974), pulled towards the usual shares.

    Raises:
        ValueError: no students.
    """
    if not students:
        raise ValueError("prices need at least one measured student")
    rows = np.array([features(one.layers) for one in students])
    ratios = np.array([one.ratio for one in students])
    folds = np.arange(len(students)) % min(5, len(students))
    errors = [
        abs(
            rows[i] @ _solve([one for one, fold in zip(students, folds, strict=True) if fold != folds[i]]) / ratios[i]
            - 1
        )
        for i in range(len(students))
        if len(set(folds)) > 1
    ]
    return Prices(_solve(students), float(np.median(errors)) if errors else 0.0)


def _solve(students: Sequence[Priced]) -> NDArray[np.float64]:
    rows = np.array([features(one.layers) for one in students])
    ratios = np.array([one.ratio for one in students])
    usual = _usual(rows, ratios)
    scale = np.maximum(usual, 1e-30)  # each price as a multiple of the usual one
    scale[usual == 0] = 1 / np.maximum(rows[:, usual == 0].max(0), 1e-30)
    shares, wanted = list(rows / ratios[:, None]), [1.0] * len(ratios)
    for one in students:
        for size, share in one.parts.items():
            part = features([layer for layer in one.layers if layer.n_positions == size])
            part[0] = 0.0  # what belongs to no image
            shares.append(part / one.ratio)
            wanted.append(share)
    pull = PULL / len(shares)
    weighted = np.vstack([np.array(shares) * scale, pull * np.eye(N_FEATURES)])
    from scipy.optimize import nnls  # here, as importing it takes as long as a candidate

    solution, _ = nnls(weighted, np.concatenate([wanted, pull * (usual > 0)]))
    rates: NDArray[np.float64] = solution * scale
    return rates


def _usual(rows: NDArray[np.float64], ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N_FEATURES,) prices with which the largest student's latency is made up of the usual shares."""
    largest = rows[int(ratios.argmax())]
    parts = largest[1:].reshape(len(_KINDS), -1).sum(0)
    each = np.where(parts > 0, np.array(USUAL_SHARES) / np.maximum(parts, 1e-30), 0.0)
    usual = np.concatenate([[0.05], np.tile(each, len(_KINDS))])
    scaled: NDArray[np.float64] = usual * float(np.exp(np.median(np.log(ratios / (rows @ usual)))))
    return scaled
