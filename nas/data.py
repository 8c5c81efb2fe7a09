"""Training, validation and test data, in memory."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Metric = Callable[[NDArray[np.float32], NDArray[np.int64]], float]
"""(outputs (n, ...), labels (n, ...)) to a number, higher is better."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs (n, ...), labels (n, ...)) to a scalar."""


@dataclass(frozen=True)
class Split:
    """Samples as tensors.

    Attributes:
        inputs: one tensor for each input of the network, first axis n samples.
        labels: first axis n samples, or None for a task without labels.
    """

    inputs: tuple[Tensor, ...]
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def take(self, indices: Tensor) -> "Split":
        """The samples at these indices, in that order."""
        labels = None if self.labels is None else self.labels[indices]
        return Split(tuple(tensor[indices] for tensor in self.inputs), labels)

    def first(self, n: int) -> "Split":
        """The first n samples (all of them where there are fewer)."""
        labels = None if self.labels is None else self.labels[:n]
        return Split(tuple(tensor[:n] for tensor in self.inputs), labels)


@dataclass(frozen=True)
class Data:
    """The three sets; the test set is touched once, at the end, for the front only."""

    train: Split
    validation: Split
    test: Split

    @property
    def example(self) -> tuple[Tensor, ...]:
        """One sample of each input, with the batch axis: shapes (1, ...)."""
        return self.train.first(1).inputs
