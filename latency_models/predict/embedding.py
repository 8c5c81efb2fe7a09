"""What a network spends its time on, as numbers: networks that spend it in similar kernels are predicted off alike.

A network's row is the mean of its kernels' features, weighed by their shares of its time. The features are those of a
Gaussian process over kernels at the kernels of measured networks (Nystroem: Williams and Seeger 2001), so that the
product of two rows is the covariance that unsure kernel costs lend to the logarithms of two latencies. Where single
kernels were timed, only what their times leave open counts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from latency_models.predict import process
from latency_models.predict.additive import Rates
from latency_models.predict.costs import kernel_blocks
from latency_models.predict.features import Table, members_of
from latency_models.predict.kernels import Kernel, kernel_from_json
from latency_models.predict.scaling import Scaling, scaled
from latency_models.predict.summed import Summed

Array = NDArray[np.float64]

Mean = Rates | Summed

N_POINTS = 600
"""Kernels at which the process over kernels is kept, at most."""
RIDGE = 1e-6
"""Added to the points' variances, as points may be nearly the same."""


@final
@dataclass(frozen=True)
class Embedding:
    """Rows of networks.

    Attributes:
        mean: what says how a network's time is shared among its kernels.
        points: kernels.
        scalings, settings: of the process over kernels.
        located: the points' blocks on these scales.
        whitening: (p, p) what covariances with the points are multiplied by to become features.
    """

    mean: Mean
    points: tuple[Kernel, ...]
    scalings: tuple[Scaling, ...]
    settings: process.Settings
    located: tuple[Array, ...]
    whitening: Array

    def rows(self, table: Table) -> Array:
        """(n, p) rows of networks; zeros for one that has no kernels.

        Raises:
            LatencyError: the table does not say which kernels its networks have.
        """
        members = members_of(table)
        used = _used(table)
        kernels = [table.kernels[i] for i in used]
        blocks = scaled(self.scalings, kernel_blocks(kernels))
        features = self.whitening @ process.Gram.of(self.located, blocks).covariance(self.settings)
        times = members[:, used].multiply(self.mean.kernel_seconds(kernels)[None]).tocsr()
        whole = np.asarray(times.sum(1)).reshape(-1, 1)
        return np.asarray(times @ features.T / np.where(whole > 0, whole, 1.0), dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON values; what follows from the others is left out."""
        return {"points": [list(kernel) for kernel in self.points]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], mean: Mean) -> "Embedding":
        """Inverse of `to_json`, for the same mean."""
        return _at(mean, tuple(map(kernel_from_json, values["points"])))


def embedding_of(mean: Mean, measured: Table) -> Embedding | None:
    """The embedding that measured networks give; None where their table does not say which kernels they have.

    Args:
        mean: learned from them.
        measured: the networks.
    """
    if measured.members is None:
        return None
    used = _used(measured)
    picked = np.sort(np.random.default_rng(0).permutation(used)[:N_POINTS])
    return _at(mean, tuple(measured.kernels[i] for i in picked))


def _at(mean: Mean, points: tuple[Kernel, ...]) -> Embedding:
    """The embedding at these points; scales and process are those of the timed kernels where there are any."""
    raw = kernel_blocks(points)
    if isinstance(mean, Summed):
        scalings, settings = mean.costs.scalings, mean.costs.rest.settings
    else:
        scalings, settings = tuple(Scaling.of(block) for block in raw), process.usual(len(raw))
    blocks = scaled(scalings, raw)
    among = process.Gram.of(blocks, blocks).covariance(settings)
    among[np.diag_indices_from(among)] += RIDGE * among.diagonal().mean()
    whitening = _inverse(among)
    if isinstance(mean, Summed):
        timed = mean.costs.rest
        known = whitening @ process.Gram.of(blocks, timed.blocks).covariance(settings)
        precision = np.eye(len(points)) + known * (timed.trust / math.exp(settings.noise)) @ known.T
        whitening = _inverse(precision) @ whitening
    return Embedding(mean, points, scalings, settings, blocks, whitening)


def _inverse(matrix: Array) -> Array:
    """Of the lower Cholesky factor."""
    return np.asarray(solve_triangular(cholesky(matrix, lower=True), np.eye(len(matrix)), lower=True), dtype=np.float64)


def _used(table: Table) -> NDArray[np.int64]:
    """Numbers of the kernels that a network of the table has."""
    return np.flatnonzero(np.asarray(members_of(table).sum(0)).reshape(-1))
