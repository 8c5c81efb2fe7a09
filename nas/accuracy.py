"""Scores through the exported artifact, never through the module beside it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from latency_models.artifact import Artifact
from nas.data import Split
from nas.export import opened, run_session
from nas.teacher import Task, agreement, references, top1_accuracy

LOOKS = (200, 1000)
"""After how many samples it is asked whether a candidate is worth more of them."""
Z_LOOK = 3.0
"""Standard deviations that a candidate is given; one in 700 that lies on the bar itself is then turned away too early.
Three, as every candidate of a run is looked at twice."""
N_BATCH = 32
"""Samples to an inference: small networks are a third faster so than at 128, as their activations stay in the cache."""


@dataclass(frozen=True, eq=False)
class ScoredSet:
    """A split with what its outputs are compared with (labels, or the teacher's outputs)."""

    split: Split
    reference: NDArray[Any]

    @classmethod
    def of(cls, task: Task, split: Split) -> "ScoredSet":
        """Without labels this runs the teacher once over the split."""
        return cls(split, references(task, split))


@dataclass(frozen=True)
class Score:
    """The task's metric, and how many samples it rests on."""

    value: float
    n_samples: int


def score(task: Task, artifact: Artifact, on: ScoredSet, n_threads: int = 1) -> float:
    """The task's metric of an artifact on a set.

    Raises:
        ValueError: an output or the metric is NaN or infinite.
    """
    return growing_score(task, opened(artifact, n_threads), on, None).value


def growing_score(task: Task, session: onnxruntime.InferenceSession, on: ScoredSet, bar: float | None) -> Score:
    """The task's metric on a growing part of a set, which ends as soon as it is clear that it stays below the bar.

    Only where the metric counts samples (accuracy, a classifier's agreement); any other is taken on the whole set.

    Args:
        task: whose metric.
        session: of the artifact, see `nas.export.opened`.
        on: the set; its order must mean nothing.
        bar: what must be reached to matter, or None where every candidate matters.

    Raises:
        ValueError: an output or the metric is NaN or infinite.
    """
    n_all, n_done = len(on.split), 0
    parts = list[NDArray[np.float32]]()
    looks = [n for n in LOOKS if n < n_all] if bar is not None and counts_samples(task, on) else []
    for n in (*looks, n_all):
        parts.append(run_session(session, tuple(tensor[n_done:n] for tensor in on.split.inputs), N_BATCH))
        n_done = n
        value = _metric(task, np.concatenate(parts), on.reference[:n])
        if bar is not None and n < n_all and not worth_more(value, n, bar):
            break
    return Score(value, n_done)


def worth_more(share: float, n_samples: int, bar: float) -> bool:
    """Whether the true share may still reach the bar: the upper end of Wilson's interval (1927) for a share does.

    Args:
        share: of right answers among the samples seen.
        n_samples: seen, at least 1.
        bar: the share that must be reached.
    """
    z2_n = Z_LOOK**2 / n_samples
    spread = Z_LOOK * math.sqrt(share * (1 - share) / n_samples + z2_n / (4 * n_samples))
    return (share + z2_n / 2 + spread) / (1 + z2_n) >= bar


def counts_samples(task: Task, on: ScoredSet) -> bool:
    """Whether the metric is the share of right answers, one to a sample."""
    if task.metric is top1_accuracy:
        return bool(on.reference.ndim == 1)
    return task.metric is agreement and on.reference.ndim == 2 and on.reference.shape[1] >= 2


def _metric(task: Task, outputs: NDArray[np.float32], reference: NDArray[Any]) -> float:
    if not np.isfinite(outputs).all():
        raise ValueError("the artifact answers with NaN or infinite values")
    value = float(task.metric(outputs, reference))
    if not np.isfinite(value):
        raise ValueError(f"the metric is {value}")
    return value
