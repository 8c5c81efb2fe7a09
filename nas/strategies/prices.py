"""A price table: what a recipe's latency will be, learned from a few dozen measured students of the same teacher.

Additive over layers and non-negative, so that it extrapolates sanely: seconds = sum over layers of rates times
(one call, multiply-accumulates on the hardware's channel steps, activations read and written, weights read).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from search_spaces.cost import LayerCost

STEP = 16
"""Channels of one vector step; a width between two steps is priced as the wider one, mixed with its own size."""
_KINDS = ("conv", "pointwise", "depthwise", "linear")
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


def learn(students: Sequence[tuple[Sequence[LayerCost], float]]) -> Prices:
    """Non-negative least squares on relative errors (Lawson and Hanson 1974).

    Args:
        students: layers and measured latency ratio of each.

    Raises:
        ValueError: no students.
    """
    if not students:
        raise ValueError("prices need at least one measured student")
    rows = np.array([features(layers) for layers, _ in students])
    ratios = np.array([ratio for _, ratio in students])
    rates = _solve(rows, ratios)
    folds = np.arange(len(ratios)) % min(5, len(ratios))
    errors = [
        abs(rows[i] @ _solve(rows[folds != folds[i]], ratios[folds != folds[i]]) / ratios[i] - 1)
        for i in range(len(ratios))
        if len(set(folds)) > 1
    ]
    return Prices(rates, float(np.median(errors)) if errors else 0.0)


def _solve(rows: NDArray[np.float64], ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    scale = np.maximum(rows.max(0), 1e-30)
    # A whisper of ridge: features that always move together share the price instead of one taking it all.
    weighted = np.vstack([rows / scale / ratios[:, None], 1e-2 * np.eye(N_FEATURES)])
    solution, _ = nnls(weighted, np.concatenate([np.ones(len(ratios)), np.zeros(N_FEATURES)]))
    rates: NDArray[np.float64] = solution / scale
    return rates
