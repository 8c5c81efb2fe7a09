"""Latencies predicted from measured ones, on a target that can measure: predicted to discard, measured to decide."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, final

import numpy as np

from latency_models.artifact import Artifact
from latency_models.calibration import Measurement, folder_of, kept, predictor_path, reference_s
from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from latency_models.latency import Latency, Visit
from latency_models.model import Interleaving
from latency_models.predict.features import table_of
from latency_models.predict.kernels import Kernel, Network, network_of
from latency_models.predict.learned import learn
from latency_models.predict.matching import matched
from latency_models.predict.predictor import Predictor
from latency_models.predict.saved import load
from latency_models.target import Target
from latency_models.timing import RESOLUTION, median_anchor_s

LEAST = 8
"""Measured students of a precision from which others of it are predicted. Learning works from five on; the intervals
of so few are wider than what there is to choose between."""
AGAIN = 1.25
"""The predictor is learned anew once so many times as many students have been measured."""
ANCHOR_S = "anchor_s"
"""In a saved predictor's environment: the teacher's latency that its seconds go with."""
FROM_90_TO_95 = 1.959964 / 1.644854
"""What half of a 90 % interval of a normal error is multiplied by for one of 95 %, which every `Latency` has."""


class Measuring(Interleaving, Protocol):
    """A model that measures, and can say what visits made before show."""

    def latency_from(self, visits: Sequence[Visit], anchor_s: float | None = None) -> Latency:
        """The latency that these visits of one candidate show; nothing is measured."""

    def take_affected(self) -> list[tuple[Artifact, Visit]]:
        """Visits that a drift of the target has made worthless, told once."""


@dataclass
class Known:
    """What is known of one precision.

    Attributes:
        measured: students by their kernels: what does the same work takes the same time, whatever its weights.
        predictor: learned from so many of them; None as long as they are too few.
        anchor_s: the teacher's latency that the predictor's seconds go with.
        n_learned: students that it rests on.
    """

    measured: dict[Network, Measurement] = field(default_factory=dict)
    predictor: Predictor | None = None
    anchor_s: float = 1.0
    n_learned: int = 0

    def learned(self, label: str, environment: Mapping[str, str]) -> Predictor | None:
        """The predictor, learned anew where there is much more to learn from."""
        n = len(self.measured)
        if n >= max(LEAST, AGAIN * self.n_learned) and n > self.n_learned:
            measured = list(self.measured.values())
            self.anchor_s = reference_s(measured)
            self.predictor = learn([one.sample(self.anchor_s) for one in measured], label, environment)
            self.n_learned = n
        return self.predictor


@final
class Predicted:
    """Satisfies `Predicting` and `Interleaving`.

    What `nas calibrate` has measured of the same teacher in the same environment is used from the beginning; without it
    predictions begin once `LEAST` students of a precision have been measured.

    Args:
        measured: measures on the target.
        anchor: the teacher's artifact.
        root: of the calibrations, instead of the user's cache folder.
    """

    def __init__(self, measured: Measuring, anchor: Artifact, root: Path | None = None) -> None:
        self._measured = measured
        self._anchor = anchor
        self._root = root
        self._anchors_s: list[float] = []
        self._kernels: dict[Network, tuple[tuple[Kernel, float], ...]] = {}
        self._by_precision: dict[str, Known] | None = None

    @property
    def target(self) -> Target:
        """What the latencies hold for."""
        return self._measured.target

    def latency(self, artifact: Artifact, earlier: tuple[Visit, ...] = (), anchor_s: float | None = None) -> Latency:
        """The measured latency, from which others are predicted from then on; see `LatencyModel.latency`."""
        latency = self._measured.latency(artifact, earlier, anchor_s)
        self.recall(artifact, latency)
        return latency

    def latencies(
        self,
        artifacts: Mapping[str, Artifact],
        earlier: Mapping[str, tuple[Visit, ...]],
        anchor_s: float | None = None,
    ) -> dict[str, Latency]:
        """The measured latencies, from which others are predicted from then on; see `Interleaving.latencies`."""
        found = self._measured.latencies(artifacts, earlier, anchor_s)
        for name, latency in found.items():
            self.recall(artifacts[name], latency)
        return found

    def latency_from(self, visits: Sequence[Visit], anchor_s: float | None = None) -> Latency:
        """The latency that visits made before show; nothing is measured."""
        return self._measured.latency_from(visits, anchor_s)

    def predicted(self, artifact: Artifact) -> Latency | None:
        """The latency without a clock; None where it must be measured: too little is known, or the artifact lies
        outside of what was measured.

        Raises:
            DeviceError, LatencyError: as for `LatencyModel.environment`, where the target was not asked before.
        """
        known = self._known(artifact.precision)
        predictor = known.learned(self.target.label, self.environment())
        if predictor is None:
            return None
        try:
            network = network_of(artifact)
        except LatencyError:
            return None  # a clock needs no description of it
        found = predictor.predict(table_of([network]))
        if found.out_of_range[0]:
            return None
        seconds, low_s, high_s = (float(one[0]) for one in (found.seconds, found.low_s, found.high_s))
        below = max(RESOLUTION, FROM_90_TO_95 * math.log(seconds / low_s))
        above = max(RESOLUTION, FROM_90_TO_95 * math.log(high_s / seconds))
        ratio = seconds / known.anchor_s
        anchor_s = float(np.median(self._anchors_s)) if self._anchors_s else known.anchor_s
        low, high = ratio * math.exp(-below), ratio * math.exp(above)
        return Latency(
            median_s=ratio * anchor_s,
            low_s=low * anchor_s,
            high_s=high * anchor_s,
            ratio=ratio,
            ratio_low=low,
            ratio_high=high,
            source="predicted",
            target=self.target.label,
            environment={**self.environment(), "predicted_from": f"{known.n_learned} measured students"},
            known_error=predictor.known_error,
        )

    def recall(self, artifact: Artifact, latency: Latency) -> None:
        """Learns from a latency that was measured, now or earlier."""
        if not latency.visits:
            return
        self._anchors_s.append(median_anchor_s(latency.visits))
        if artifact.digest == self._anchor.digest:
            return
        try:
            network = network_of(artifact)
        except LatencyError:
            return
        kernels = self._kernels.get(network, ())
        one = Measurement(artifact.digest, artifact.precision, network, latency.visits, kernels)
        self._known(artifact.precision).measured[network] = one

    def kernels(self, artifact: Artifact) -> list[KernelTime]:
        """See `LatencyModel.kernels`; they are learned from too where the artifact has been measured."""
        timed = self._measured.kernels(artifact)
        try:
            network = network_of(artifact)
        except LatencyError:
            return timed
        measured = self._known(artifact.precision).measured
        one = measured.get(network)
        if one is not None:
            shares = shares_of(network, timed, one.visits)
            self._kernels[network] = shares
            measured[network] = replace(one, kernel_shares=shares)
        return timed

    def take_affected(self) -> list[tuple[Artifact, Visit]]:
        """Visits that a drift of the target has made worthless, told once."""
        return self._measured.take_affected()

    def refusal(self, precision: str) -> str | None:
        """Why the target cannot compute in a precision, or None where it can."""
        return self._measured.refusal(precision)

    def environment(self) -> dict[str, str]:
        """As for `Measured`."""
        return self._measured.environment()

    def close(self) -> None:
        """Ends what measures."""
        self._measured.close()

    def n_known(self, precision: str) -> int:
        """Measured students that predictions in a precision rest on, those of a calibration included."""
        return len(self._known(precision).measured)

    def _known(self, precision: str) -> Known:
        if self._by_precision is None:
            folder = folder_of(self.target.label, self.environment(), self._anchor, self._root)
            self._by_precision = calibrated(folder)
        return self._by_precision.setdefault(precision, Known())


def calibrated(folder: Path) -> dict[str, Known]:
    """What lies in a calibration's folder, by precision; nothing where it does not exist.

    Raises:
        LatencyError: its files are damaged.
    """
    found: dict[str, Known] = {}
    for one in kept(folder):
        found.setdefault(one.precision, Known()).measured[one.network] = one
    for precision, known in found.items():
        path = predictor_path(folder, precision)
        if path.is_file():
            known.predictor = load(path)
            known.anchor_s = float(known.predictor.environment[ANCHOR_S])
            known.n_learned = len(known.measured)
    return found


def shares_of(
    network: Network, timed: Sequence[KernelTime], visits: Sequence[Visit]
) -> tuple[tuple[Kernel, float], ...]:
    """Timed kernels of a network as shares of its teacher's latency.

    Args:
        network: of the artifact.
        timed: its kernels.
        visits: of the artifact, made about when its kernels were timed.
    """
    anchor_s = median_anchor_s(visits)
    # What was too short for the clock says nothing.
    return tuple((kernel, seconds / anchor_s) for kernel, seconds in matched(network, timed) if seconds > 0)
