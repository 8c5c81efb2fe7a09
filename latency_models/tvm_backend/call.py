"""What an operator's function is given: one ONNX node with its inputs at hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from latency_models.errors import LatencyError
from latency_models.tvm_backend.emitter import Emitter
from latency_models.tvm_backend.graph import Array, Node
from latency_models.tvm_backend.lanes import padded_width
from latency_models.tvm_backend.tensor import Tensor, Value


@dataclass(frozen=True)
class Call:
    """One node of the network on its way to TVM.

    Attributes:
        node: as in the file.
        inputs: its values; None where one is left out.
        emitter: what to write with.
        exact: its result is an output of the network, so that it should not be padded.
        into_matrix: only products with constant matrices read its result.
    """

    node: Node
    inputs: tuple[Value | None, ...]
    emitter: Emitter
    exact: bool = False
    into_matrix: bool = False

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute of the node, or its default."""
        return self.node.attributes.get(name, default)

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int) -> Value:
        """An input that must be there."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise self.refusal(f"its input {index} is missing")
        return value

    def tensor(self, index: int) -> Tensor:
        """An input as a tensor, even if it is constant."""
        value = self.value(index)
        if isinstance(value, np.ndarray):
            return self.emitter.tensor(self.emitter.constant(value), value.shape)
        return value

    def constant(self, index: int) -> Array:
        """An input whose value must be known before the network runs."""
        value = self.value(index)
        if isinstance(value, Tensor):
            raise self.refusal(f"its input {index} is computed, where only a constant is supported")
        return value

    def integers(self, index: int, attribute: str) -> list[int] | None:
        """Integers that are an attribute up to some version of the operator and an input from then on."""
        if self.has(index):
            return [int(number) for number in self.constant(index).reshape(-1)]
        found = self.attribute(attribute, None)
        return None if found is None else [int(number) for number in np.atleast_1d(found)]

    def width(self, n: int, dtype: str) -> int:
        """Lanes for `n` output channels."""
        return n if self.exact else padded_width(n, self.emitter.processor, np.dtype(dtype).itemsize * 8)

    def refusal(self, why: str) -> LatencyError:
        """This node cannot be compiled."""
        return LatencyError(
            f"TVM cannot compile the operator {self.node.operator} that makes {self.node.outputs[0]}: {why}.",
            "Time the network with ONNX Runtime (target `cpu`), or replace this layer in the teacher.",
        )


Operator = Callable[[Call], list[Value]]


def padded_last(array: Array, width: int, fill: float = 0.0) -> Array:
    """The array with its last axis filled up to `width`."""
    missing = width - array.shape[-1]
    if missing == 0:
        return array
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)], constant_values=fill)
