"""Artifact to latency: what the search asks, whether a clock or a model answers."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from latency_models.artifact import Artifact
from latency_models.kernel import KernelTime
from latency_models.latency import Latency, Visit
from latency_models.target import Target


class LatencyModel(Protocol):
    """Latencies on one target, each beside the same anchor (the teacher's artifact)."""

    @property
    def target(self) -> Target:
        """What the latencies hold for."""

    def latency(self, artifact: Artifact, earlier: tuple[Visit, ...] = (), anchor_s: float | None = None) -> Latency:
        """The latency of an artifact.

        Args:
            artifact: what to measure or predict.
            earlier: visits made before; a measured latency adds one and rests on all of them.
            anchor_s: the anchor's latency, where it is known better than from these visits.

        Raises:
            DeviceError: the device is out of reach; nothing is known of the artifact.
            LatencyError: the artifact cannot be run on the target: refused, failed to compile, or wrong results.
        """

    def kernels(self, artifact: Artifact) -> list[KernelTime]:
        """The time of each kernel of one inference, in order of execution.

        Raises:
            DeviceError, LatencyError: as for `latency`.
        """

    def refusal(self, precision: str) -> str | None:
        """Why the target cannot compute in a precision, or None where it can."""

    def environment(self) -> dict[str, str]:
        """What else the latencies depend on: processor, versions, threads, and what is known of the error."""

    def close(self) -> None:
        """Ends its processes and connections."""


@runtime_checkable
class Interleaving(LatencyModel, Protocol):
    """A model with a clock, which can visit several artifacts at once: the anchor is then timed once for all."""

    def latencies(
        self,
        artifacts: Mapping[str, Artifact],
        earlier: Mapping[str, tuple[Visit, ...]],
        anchor_s: float | None = None,
    ) -> dict[str, Latency]:
        """`LatencyModel.latency` of each artifact, their visits interleaved with each other and the anchor.

        Args:
            artifacts: name to artifact.
            earlier: visits made before, by the same names.
            anchor_s: as for `latency`.

        Raises:
            DeviceError, LatencyError: as for `latency`, of any of them.
        """


@runtime_checkable
class Predicting(LatencyModel, Protocol):
    """A model whose `latency` measures and learns from it, and which can answer without a clock."""

    def predicted(self, artifact: Artifact) -> Latency | None:
        """The latency without a clock; None where it must be measured.

        Raises:
            DeviceError, LatencyError: as for `environment`, where the target was not asked before.
        """

    def latency_from(self, visits: Sequence[Visit], anchor_s: float | None = None) -> Latency:
        """The latency that visits made before show; nothing is measured."""

    def recall(self, artifact: Artifact, latency: Latency) -> None:
        """Learns from a latency that was measured, now or earlier."""

    def take_affected(self) -> list[tuple[Artifact, Visit]]:
        """Visits that a drift of the target has made worthless, told once."""
