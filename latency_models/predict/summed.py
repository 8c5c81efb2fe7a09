"""A network's latency from those of its kernels: their sum, something for each call, and a constant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from latency_models.predict.costs import KernelCosts
from latency_models.predict.features import Table, members_of
from latency_models.predict.kernels import Kernel

Array = NDArray[np.float64]

PULL = 0.05
"""Towards the plain sum, beside samples that weigh 1 each."""


@final
@dataclass(frozen=True)
class Summed:
    """Seconds of networks.

    Attributes:
        costs: of single kernels.
        total: (3,) seconds of every network, of each kernel in it, and what its kernels' sum is multiplied by.
    """

    costs: KernelCosts
    total: Array

    def seconds(self, table: Table) -> Array:
        """(n,) latencies; above zero."""
        return self.of_sums(sums_of(self.costs, table))

    def of_sums(self, sums: Array) -> Array:
        """(n,) latencies of networks from (n, 3) `sums_of`."""
        result: Array = sums @ self.total + 1e-12
        return result

    def kernel_seconds(self, kernels: Sequence[Kernel]) -> Array:
        """(n,) of single kernels; above zero."""
        return self.costs.seconds(kernels) + 1e-12

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON values."""
        return {"costs": self.costs.to_json(), "total": self.total.tolist()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Summed":
        """Inverse of `to_json`."""
        return cls(KernelCosts.from_json(values["costs"]), np.array(values["total"], dtype=np.float64))


def sums_of(costs: KernelCosts, table: Table) -> Array:
    """(n, 3) of each network 1, its calls and the sum of its kernels' seconds.

    Raises:
        LatencyError: the table does not say which kernels its networks have.
    """
    members = members_of(table)
    each = costs.seconds(table.kernels)
    calls = members @ np.ones(len(each))
    return np.column_stack([np.ones(len(table)), calls, members @ each])


def learn_summed(costs: KernelCosts, sums: Array, seconds: Array) -> Summed:
    """From networks that were measured.

    Args:
        costs: of their kernels.
        sums: (n, 3) from `sums_of`.
        seconds: (n,) their latencies.
    """
    rows = sums / seconds[:, None]
    scale = rows.mean(0)
    wanted = np.array([0.0, 0.0, scale[2]])
    weighted = np.vstack([rows / scale, PULL * np.sqrt(len(seconds)) * np.eye(3)])
    solution, _ = nnls(weighted, np.concatenate([np.ones(len(seconds)), PULL * np.sqrt(len(seconds)) * wanted]))
    return Summed(costs, solution / scale)
