"""Scores through the exported artifact, never through the module beside it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_models.artifact import Artifact
from nas.data import Split
from nas.export import run_artifact
from nas.teacher import Task, references


@dataclass(frozen=True, eq=False)
class ScoredSet:
    """A split with what its outputs are compared with (labels, or the teacher's outputs)."""

    split: Split
    reference: NDArray[Any]

    @classmethod
    def of(cls, task: Task, split: Split) -> "ScoredSet":
        """Without labels this runs the teacher once over the split."""
        return cls(split, references(task, split))


def score(task: Task, artifact: Artifact, on: ScoredSet, n_threads: int = 1) -> float:
    """The task's metric of an artifact on a set.

    Raises:
        ValueError: an output or the metric is NaN or infinite.
    """
    outputs = run_artifact(artifact, on.split.inputs, n_threads)
    if not np.isfinite(outputs).all():
        raise ValueError("the artifact answers with NaN or infinite values")
    value = float(task.metric(outputs, on.reference))
    if not np.isfinite(value):
        raise ValueError(f"the metric is {value}")
    return value
