"""Latency as a sum over kernels, with rates that are never negative.

Non-negative least squares (Lawson and Hanson 1974) on relative errors, in two steps: first one rate for all families of
kernels (a call, an operation on vector steps, a byte, a weight), then one for each column of `features`, pulled towards
the first ones; by how much, and whether at all, is decided by cross-validation. Times of single kernels count as shares
of their network's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from latency_models.predict.features import GROUPS, MEASURES, Table, alone, joined, totals
from latency_models.predict.kernels import Kernel

Array = NDArray[np.float64]

PULL = 0.05
"""Towards equal shares of the first step's rates, beside samples that weigh 1 each."""
PULLS = (1.0, 0.2)
"""Of the second step's rates towards the first step's; cross-validation chooses, or neither."""
WORTH = 0.9
"""The second step is taken where its errors are below so much of the first step's."""
N_FOLDS = 5
LEAST_SINGLE = 60
"""Measured networks and kernels from which the second step is tried; with fewer the choice is a matter of luck."""


@dataclass(frozen=True)
class KernelRows:
    """Single kernels that were timed.

    Attributes:
        table: each kernel as a network of its own.
        seconds: of each.
        network_s: of the network that each was part of.
    """

    table: Table
    seconds: Array
    network_s: Array


@dataclass(frozen=True)
class Rates:
    """Seconds of each column.

    Attributes:
        total: (12,) of a constant and of `totals`.
        single: (N_COLUMNS,) more, or less, of each column of `features`; zeros where one rate for all families does.
    """

    total: Array
    single: Array

    def seconds(self, table: Table) -> Array:
        """(n,) latencies; above zero."""
        sums = _with_constant(totals(table)) @ self.total + table.columns @ self.single
        floor = float(self.total[0]) + 1e-12
        return np.asarray(np.maximum(sums, floor), dtype=np.float64)

    def kernel_seconds(self, kernels: Sequence[Kernel]) -> Array:
        """(n,) what each kernel adds to a network; above zero."""
        return self.seconds(alone(kernels)) - float(self.total[0])

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON values."""
        return {"total": self.total.tolist(), "single": self.single.tolist()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Rates":
        """Inverse of `to_json`."""
        return cls(*(np.array(values[name], dtype=np.float64) for name in ("total", "single")))


def learn_rates(table: Table, seconds: Array, kernels: KernelRows | None = None) -> Rates:
    """Rates of networks that were measured.

    Args:
        table: the networks.
        seconds: (n,) their latencies.
        kernels: times of single kernels, where there are any; together they weigh as much as the networks.
    """
    first = shared_rates(table, seconds, kernels)
    n_known = len(seconds) + (len(kernels.seconds) if kernels is not None else 0)
    if n_known < LEAST_SINGLE:
        return first
    errors = dict.fromkeys((None, *PULLS), 0.0)
    for fold in range(N_FOLDS):
        out = np.arange(len(seconds)) % N_FOLDS == fold
        if not out.any() or out.all():
            continue
        kept, left = np.flatnonzero(~out), np.flatnonzero(out)
        part, times = table.rows(kept), seconds[kept]
        base = Rates(_first(part, times, kernels), first.single)
        for pull in errors:
            rates = base if pull is None else _second(base, part, times, kernels, pull)
            errors[pull] += float(np.square(np.log(rates.seconds(table.rows(left)) / seconds[left])).sum())
    best = min(PULLS, key=lambda pull: errors[pull])
    if errors[best] < WORTH * errors[None]:
        return _second(first, table, seconds, kernels, best)
    return first


def shared_rates(table: Table, seconds: Array, kernels: KernelRows | None = None) -> Rates:
    """The first step alone: rates that hold for all families. Arguments as for `learn_rates`."""
    return Rates(_first(table, seconds, kernels), np.zeros(table.columns.shape[1]))


def _first(table: Table, seconds: Array, kernels: KernelRows | None) -> Array:
    """(12,) rates of `totals`, each pulled towards an equal share of the time."""
    rows, wanted = _relative(_with_constant(totals(table)), seconds, kernels, constant=True)
    scale = rows[: len(seconds)].mean(0)
    used = scale > 0
    share, pull = 1 / used.sum(), PULL * np.sqrt(used.sum())
    weighted = np.vstack([rows[:, used] / scale[used], np.diag(np.full(used.sum(), pull))])
    solution, _ = nnls(weighted, np.concatenate([wanted, np.full(used.sum(), pull * share)]))
    rates = np.zeros(len(scale))
    rates[used] = solution / scale[used]
    return rates


def _second(first: Rates, table: Table, seconds: Array, kernels: KernelRows | None, pull: float) -> Rates:
    """Rates of single columns beside those of the first step, which they may lower as far as zero."""
    tied = _tied(first, table.columns.shape[1])
    rows, _ = _relative(table.columns, seconds, kernels, constant=False)
    scale = rows[: len(seconds)].mean(0)
    used = np.flatnonzero(scale > 0)
    base = first.total.copy()
    base[1:5] = 0.0
    rest, wanted = _relative(_with_constant(totals(table)), seconds, kernels, constant=True)
    shares = tied[used] * scale[used]
    width = np.maximum(shares, 0.01)
    weight = 0.1 * pull / width
    weighted = np.vstack([rows[:, used] / scale[used], np.diag(weight)])
    solution, _ = nnls(weighted, np.concatenate([wanted - rest @ base, weight * shares]))
    single = -tied
    single[used] = solution / scale[used] - tied[used]
    return Rates(first.total, single)


def _tied(first: Rates, n_columns: int) -> Array:
    """(N_COLUMNS,) what the first step's rates are for single columns."""
    per_measure = np.zeros(len(MEASURES))
    for rate, group in zip(first.total[1 : 1 + len(GROUPS)], GROUPS, strict=True):
        for name in group:
            per_measure[MEASURES.index(name)] = rate
    return np.tile(per_measure, n_columns // len(MEASURES))


def _relative(rows: Array, seconds: Array, kernels: KernelRows | None, constant: bool) -> tuple[Array, Array]:
    """Rows over the latency of their network, and what they should come to; kernels below the networks."""
    if kernels is None or not len(kernels.seconds):
        return rows / seconds[:, None], np.ones(len(seconds))
    singles = _with_constant(totals(kernels.table), 0.0) if constant else kernels.table.columns
    if constant:
        singles[:, 8:] = 0.0  # paths and operators are the network's
    weight = np.sqrt(len(seconds) / len(kernels.seconds))
    shares = kernels.seconds / kernels.network_s
    below = singles / kernels.network_s[:, None] * weight
    return np.vstack([rows / seconds[:, None], below]), np.concatenate([np.ones(len(seconds)), shares * weight])


def _with_constant(rows: Array, value: float = 1.0) -> Array:
    return np.hstack([np.full((len(rows), 1), value), rows])


def kernel_rows(tables: Sequence[Table], seconds: Sequence[Array], network_s: Sequence[float]) -> KernelRows | None:
    """The timed kernels of several networks in one; None where there are none."""
    if not tables:
        return None
    totals_s = np.concatenate([np.full(len(part), one) for part, one in zip(seconds, network_s, strict=True)])
    return KernelRows(joined(tables), np.concatenate(list(seconds)), totals_s)
