"""Latencies by a model of the processor: no artifact is run on the target."""

import math
from typing import Self, cast, final

from latency_models.artifact import Artifact
from latency_models.backend import Feed
from latency_models.errors import LatencyError
from latency_models.estimate import check
from latency_models.kernel import KernelTime
from latency_models.latency import Latency, Visit
from latency_models.limits import Limits, limits_of
from latency_models.precisions import check_precision, refusal
from latency_models.requests import Kernels
from latency_models.target import Target
from latency_models.worker import Worker

MEDIAN_TO_95 = 1.959964 / 0.674490
"""From the median to the 95 % point of the size of an error that is normally distributed."""


@final
class Estimated:
    """Estimates for a target; satisfies `LatencyModel`. Every latency is marked as predicted and carries its error.

    Estimating happens in a worker process, as it compiles and emulates what could hang or crash.

    The interval takes log(estimate / truth) as normal about 0 with the known error as the median of its size. What the
    estimates of a student and of its teacher have in common cancels in their ratio, whose own known error is smaller.

    Args:
        target: whose access is `estimate` and whose error is known.
        anchor: what every latency is a share of.
        feed: one value for each input; its shapes and types matter.
        limits: of each step; by default the target's.

    Raises:
        LatencyError: nothing is known of the estimate's error.
    """

    def __init__(self, target: Target, anchor: Artifact, feed: Feed, limits: Limits | None = None) -> None:
        if target.known_error is None:
            if target.processor is not None:
                check(target)  # where the core's machine model is at fault, that is what must be said
            raise LatencyError(
                f"The profile of {target.name} does not say how far its estimates are from the truth.",
                "Set `known_error` to the median relative error that was found where a clock could judge it.",
            )
        self._target = target
        self._known_error = target.known_error
        self._known_ratio_error = target.known_ratio_error or target.known_error
        self._anchor = anchor
        self._feed = feed
        self._limits = limits or limits_of(target)
        self._worker = Worker(target, self._limits.start_s)
        self._anchor_s: float | None = None

    @property
    def target(self) -> Target:
        """What the latencies hold for."""
        return self._target

    def latency(self, artifact: Artifact, earlier: tuple[Visit, ...] = (), anchor_s: float | None = None) -> Latency:
        """The estimate; see `LatencyModel.latency`.

        Args:
            artifact: what to estimate.
            earlier: must be empty: an estimate has no visits.
            anchor_s: the anchor's latency, where another figure than its estimate is believed.

        Raises:
            ValueError: there are earlier visits.
            LatencyError: the artifact cannot be estimated.
        """
        if earlier:
            raise ValueError("an estimate does not rest on visits")
        if self._anchor_s is None:
            self._anchor_s = self._estimate_s(self._anchor)
        ratio = self._estimate_s(artifact) / self._anchor_s
        median_s = ratio * (self._anchor_s if anchor_s is None else anchor_s)
        wider, ratio_wider = (_interval_factor(one) for one in (self._known_error, self._known_ratio_error))
        return Latency(
            median_s=median_s,
            low_s=median_s / wider,
            high_s=median_s * wider,
            ratio=ratio,
            ratio_low=ratio / ratio_wider,
            ratio_high=ratio * ratio_wider,
            source="predicted",
            target=self._target.label,
            environment=self.environment(),
            known_error=self._known_error,
        )

    def kernels(self, artifact: Artifact) -> list[KernelTime]:
        """The estimated time of each kernel of one inference; their sum is the network's.

        Raises:
            LatencyError: the artifact cannot be estimated.
        """
        check_precision(self._target, artifact)
        return cast(list[KernelTime], self._worker.ask(Kernels(artifact, self._feed), self._limits.load_s))

    def refusal(self, precision: str) -> str | None:
        """Why the target cannot compute in a precision, or None where it can."""
        return refusal(self._target, precision)

    def environment(self) -> dict[str, str]:
        """What else the estimates depend on: compiler, machine model, and what is known of the error.

        Raises:
            LatencyError: the estimator cannot be started.
        """
        errors = {"known_error": f"{self._known_error:g}", "known_ratio_error": f"{self._known_ratio_error:g}"}
        return {**cast(dict[str, str], self._worker.start()[0]), **errors}

    def close(self) -> None:
        """Ends the worker process."""
        self._worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _estimate_s(self, artifact: Artifact) -> float:
        total_s = sum(kernel.seconds for kernel in self.kernels(artifact))
        if not (math.isfinite(total_s) and total_s > 0):
            raise LatencyError(
                f"The estimate for {artifact.path.name} on {self._target.label} is {total_s} s.",
                "Check that the network computes something; report it if it does.",
            )
        return total_s


def _interval_factor(median_error: float) -> float:
    """What the ends of a 95 % interval are multiplied and divided by."""
    return math.exp(MEDIAN_TO_95 * math.log1p(median_error))
