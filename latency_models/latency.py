"""Seconds per inference with their interval, raw samples and source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Visit:
    """One interleaved session of a candidate and the anchor (the teacher's artifact), close in time.

    Attributes:
        candidate_s: seconds of single inferences of the candidate.
        anchor_s: the anchor's, same length; entry i was taken right beside entry i of `candidate_s`.
    """

    candidate_s: tuple[float, ...]
    anchor_s: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.candidate_s) != len(self.anchor_s) or not self.candidate_s:
            raise ValueError("a visit pairs at least one candidate sample with as many anchor samples")


@dataclass(frozen=True)
class Latency:
    """Seconds per inference (batch as exported), with a 95 % interval.

    Attributes:
        median_s, low_s, high_s: the candidate's own latency; low_s <= median_s <= high_s.
        ratio, ratio_low, ratio_high: the same as a share of the anchor's, from paired samples.
        source: whether a clock or a model said it.
        target: label of the target it holds for.
        visits: the raw samples (empty where predicted).
        environment: processor, versions, threads.
        known_error: of a predicted latency: the predictor's median relative error where a clock could judge it.
    """

    median_s: float
    low_s: float
    high_s: float
    ratio: float
    ratio_low: float
    ratio_high: float
    source: Literal["measured", "predicted"]
    target: str
    visits: tuple[Visit, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    known_error: float | None = None

    @property
    def n_samples(self) -> int:
        """Raw samples behind the figures."""
        return sum(len(visit.candidate_s) for visit in self.visits)

    def indistinguishable_from(self, other: "Latency") -> bool:
        """Whether the two ratio intervals overlap."""
        return self.ratio_low <= other.ratio_high and other.ratio_low <= self.ratio_high
