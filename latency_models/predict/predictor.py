"""From a network's kernels to seconds with an interval: what every predictor does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from latency_models.errors import LatencyError
from latency_models.predict.features import Table
from latency_models.predict.kernels import Kernel, Network

Array = NDArray[np.float64]

CONFIDENCE = 0.9
"""Share of latencies that intervals are made to contain."""


@dataclass(frozen=True)
class Sample:
    """A network that was measured.

    Attributes:
        network: its kernels.
        seconds: of one inference.
        kernel_s: of single kernels, where they were timed.
    """

    network: Network
    seconds: float
    kernel_s: tuple[tuple[Kernel, float], ...] = ()


@dataclass(frozen=True)
class Predicted:
    """Latencies of n networks.

    Attributes:
        seconds: (n,) of one inference.
        low_s, high_s: (n,) ends of the 90 % intervals; low_s < seconds < high_s.
        out_of_range: (n,) whether a network lies outside of what was measured: better measure it.
    """

    seconds: Array
    low_s: Array
    high_s: Array
    out_of_range: NDArray[np.bool_]


class Predictor(Protocol):
    """Knows the latencies of one target from samples; immutable."""

    @property
    def target(self) -> str:
        """Label of the target."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What else the samples depend on: processor, versions, threads."""

    @property
    def known_error(self) -> float:
        """Median relative error on samples that it was not shown."""

    def predict(self, table: Table) -> Predicted:
        """Latencies of networks, from `table_of`."""

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON values that `saved.predictor_from` turns back into the same predictor."""


def check_seconds(seconds: Array, n_least: int) -> None:
    """Refuses what cannot be learned from: an infinite value would crash the solver, not merely mislead it.

    Raises:
        LatencyError: there are too few latencies, or one is NaN, infinite or not above zero.
    """
    if len(seconds) < n_least:
        raise LatencyError(
            f"{len(seconds)} measured networks are too few to predict others from.", f"Measure at least {n_least}."
        )
    wrong = seconds[~(np.isfinite(seconds) & (seconds > 0))]
    if len(wrong):
        raise LatencyError(f"A latency of {wrong[0]} s cannot be learned from.", "Measure that network again.")


def beyond(table: Array, lowest: Array, highest: Array, slack: float) -> NDArray[np.bool_]:
    """(n,) whether a row lies outside of a box widened by `slack` of its width on each side.

    Args:
        table: (n, p) rows.
        lowest, highest: (p,) of what was measured; where both are equal any other value is outside.
        slack: share of the width.
    """
    room = slack * (highest - lowest) + 1e-9 * np.abs(highest)
    return np.asarray(np.logical_or(table < lowest - room, table > highest + room).any(axis=1), dtype=np.bool_)
