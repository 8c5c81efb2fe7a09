"""How a tensor of the network lies in memory while the network is compiled."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import relax

from latency_models.tvm_backend.graph import Array


@dataclass(frozen=True)
class Tensor:
    """A tensor that is computed: what ONNX thinks of it, and how it lies in memory.

    Transposing only changes `order`. Spatial layers keep their channels last (`order` (0, 2, 3, 1)) from the network's
    first to its last.

    Attributes:
        expr: the TVM expression that holds it.
        shape: as in ONNX.
        dtype: numpy name.
        order: entry i is the ONNX axis that lies at position i in memory.
        width: lanes of the last axis in memory; those beyond its size in `shape` hold anything finite.
        features: of a flattened tensor that kept its channels last: the ONNX feature in each lane, -1 for none.
        origin: what such a tensor was flattened from.
    """

    expr: relax.Expr
    shape: tuple[int, ...]
    dtype: str
    order: tuple[int, ...]
    width: int
    features: Array | None = field(default=None, compare=False)
    origin: "Tensor | None" = None

    @property
    def physical(self) -> tuple[int, ...]:
        """The shape in memory."""
        return (*(self.shape[axis] for axis in self.order[:-1]), *([self.width] if self.order else []))

    @property
    def padded(self) -> bool:
        """Whether there are lanes beyond the tensor's own."""
        return bool(self.order) and self.width != self.shape[self.order[-1]]

    @property
    def plain(self) -> bool:
        """Whether it lies in memory as ONNX describes it."""
        return self.order == tuple(range(len(self.shape))) and not self.padded and self.features is None

    def position(self, axis: int) -> int:
        """Where an ONNX axis lies in memory."""
        return self.order.index(axis % len(self.shape))


Value = Tensor | Array
"""A computed tensor or a constant."""


def channels_last(rank: int) -> tuple[int, ...]:
    """The order of a spatial tensor: batch, space, channels."""
    return (0, *range(2, rank), 1)


def shape_of(value: Value) -> tuple[int, ...]:
    """The shape as in ONNX."""
    return tuple(value.shape)


def single(value: Any) -> float | int | None:
    """The number in a constant of one element, else None."""
    if isinstance(value, np.ndarray) and value.size == 1:
        number: float | int = value.reshape(-1)[0].item()
        return number
    return None
