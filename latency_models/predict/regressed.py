"""A predictor from hundreds of measured networks: ridge regression of log-latency on all numbers of a network.

It is what a device's published table becomes, so that the device can serve as a feature for any network. Boosting
(histogram trees) was tried beside it and is left out: see docs/experiments.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from latency_models.predict.features import Table, everything, totals
from latency_models.predict.predictor import CONFIDENCE, Predicted, beyond, check_seconds
from latency_models.predict.scaling import Scaling

Array = NDArray[np.float64]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Of the ridge, as a share of the number of networks; cross-validation chooses."""
N_FOLDS = 5
LEAST = 100
"""Networks."""
SLACK = 0.1


@final
@dataclass(frozen=True)
class Regressed:
    """Satisfies `Predictor`.

    Attributes:
        target, environment, known_error: see `Predictor`.
        scaling: of `everything`.
        weights: of its columns.
        level: mean log-latency.
        factor: what the ends of an interval are multiplied and divided by.
        lowest, highest: (11,) of the logarithms of `totals` of the measured networks.
    """

    target: str
    scaling: Scaling
    weights: Array
    level: float
    factor: float
    lowest: Array
    highest: Array
    known_error: float
    environment: Mapping[str, str] = field(default_factory=dict)

    def predict(self, table: Table) -> Predicted:
        """See `Predictor.predict`."""
        seconds = np.exp(self.logarithms(table))
        outside = beyond(np.log1p(totals(table)), self.lowest, self.highest, SLACK)
        return Predicted(seconds, seconds / self.factor, seconds * self.factor, outside)

    def logarithms(self, table: Table) -> Array:
        """(n,) logarithms of seconds."""
        result: Array = self.level + self.scaling.scaled(everything(table)) @ self.weights
        return result

    def to_json(self) -> dict[str, Any]:
        """See `Predictor.to_json`."""
        return {
            "kind": "regressed",
            "target": self.target,
            "environment": dict(self.environment),
            "scaling": self.scaling.to_json(),
            "weights": self.weights.tolist(),
            "level": self.level,
            "factor": self.factor,
            "lowest": self.lowest.tolist(),
            "highest": self.highest.tolist(),
            "known_error": self.known_error,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Regressed":
        """Inverse of `to_json`."""
        return cls(
            target=str(values["target"]),
            scaling=Scaling.from_json(values["scaling"]),
            weights=np.array(values["weights"], dtype=np.float64),
            level=float(values["level"]),
            factor=float(values["factor"]),
            lowest=np.array(values["lowest"], dtype=np.float64),
            highest=np.array(values["highest"], dtype=np.float64),
            known_error=float(values["known_error"]),
            environment={str(key): str(value) for key, value in values["environment"].items()},
        )


def regress(table: Table, seconds: Array, target: str, environment: Mapping[str, str] | None = None) -> Regressed:
    """The predictor of a table of measured networks.

    Args:
        table: the networks.
        seconds: (n,) their latencies.
        target: label.
        environment: of the measurements.

    Raises:
        LatencyError: fewer than 100 networks, or a latency that is NaN, infinite or not above zero.
    """
    check_seconds(seconds, LEAST)
    rows, logs = everything(table), np.log(seconds)
    scaling = Scaling.of(rows)
    scaled, level = scaling.scaled(rows), float(logs.mean())
    folds = np.arange(len(logs)) % N_FOLDS
    left_out = {one: _left_out(scaled, logs, folds, one) for one in STRENGTHS}
    best = min(STRENGTHS, key=lambda one: float(np.square(left_out[one]).mean()))
    sizes = np.abs(left_out[best])
    extremes = np.log1p(totals(table))
    return Regressed(
        target=target,
        scaling=scaling,
        weights=_ridge(scaled, logs - level, best),
        level=level,
        factor=float(np.exp(max(np.quantile(sizes, CONFIDENCE), 1e-6))),
        lowest=extremes.min(0),
        highest=extremes.max(0),
        known_error=float(np.expm1(np.median(sizes))),
        environment=dict(environment or {}),
    )


def source_logarithms(sources: Sequence[Regressed], table: Table) -> Array:
    """(n, len(sources)) what other devices' predictors say of networks."""
    return np.array([one.logarithms(table) for one in sources]).reshape(len(sources), len(table)).T


def _left_out(rows: Array, logs: Array, folds: NDArray[np.int64], strength: float) -> Array:
    errors = np.zeros(len(logs))
    for fold in range(N_FOLDS):
        kept = folds != fold
        level = float(logs[kept].mean())
        errors[~kept] = logs[~kept] - level - rows[~kept] @ _ridge(rows[kept], logs[kept] - level, strength)
    return errors


def _ridge(rows: Array, values: Array, strength: float) -> Array:
    system = rows.T @ rows + strength * len(rows) * np.eye(rows.shape[1])
    return np.asarray(np.linalg.solve(system, rows.T @ values), dtype=np.float64)
