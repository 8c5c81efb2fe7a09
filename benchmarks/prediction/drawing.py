"""Drawing an ONNX graph layer by layer; its weights have shapes and no values, as latency does not depend on them."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latency_models.predict.graph import Shape


@cache
def _attribute(name: str, value: int | tuple[int, ...]) -> onnx.AttributeProto:
    return helper.make_attribute(name, value)


@final
class Drawing:
    """A network with one input of shape (1, 3, size, size).

    Args:
        size: rows and columns of the image.
        weights: draws random values; without, weights are said to lie in another file, which is never read.
    """

    def __init__(self, size: int, weights: np.random.Generator | None = None) -> None:
        self.x = "x"
        self.size = size
        self.channels: dict[str, int] = {"x": 3}
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def node(self, operator: str, *inputs: str, channels: int, **attributes: int | tuple[int, ...]) -> str:
        """Adds an operator and returns the name of its output, which has so many channels."""
        name = f"t{len(self._nodes)}"
        self._nodes.append(
            onnx.NodeProto(
                op_type=operator,
                input=inputs,
                output=[name],
                attribute=[_attribute(key, value) for key, value in attributes.items()],
            )
        )
        self.channels[name] = channels
        return name

    def conv(self, x: str, n_out: int, kernel: int, stride: int = 1, groups: int = 1) -> str:
        """A convolution without bias that keeps the size, but for its stride, and the batch norm behind it."""
        n_in = self.channels[x]
        weight = self._weight((n_out, n_in // groups, kernel, kernel))
        attributes: dict[str, int | tuple[int, ...]] = {"kernel_shape": (kernel, kernel), "strides": (stride, stride)}
        attributes |= {"pads": (kernel // 2,) * 4, "group": groups}
        return self.norm(self.node("Conv", x, weight, channels=n_out, **attributes))

    def norm(self, x: str) -> str:
        """A batch norm."""
        n = self.channels[x]
        return self.node("BatchNormalization", x, *(self._weight((n,)) for _ in range(4)), channels=n)

    def relu(self, x: str) -> str:
        """A rectifier."""
        return self.node("Relu", x, channels=self.channels[x])

    def hard_swish(self, x: str) -> str:
        """MobileNetV3's activation."""
        return self.node("HardSwish", x, channels=self.channels[x])

    def add(self, a: str, b: str) -> str:
        """A sum."""
        return self.node("Add", a, b, channels=self.channels[a])

    def zeroed(self, x: str) -> str:
        """Everything multiplied by zero."""
        return self.node("Mul", x, self.value(np.zeros((), np.float32)), channels=self.channels[x])

    def average(self, x: str, kernel: int, stride: int) -> str:
        """An average pool; of odd windows padded so that the size is kept, but for its stride."""
        pads = ((kernel - 1) // 2,) * 4
        shape: dict[str, tuple[int, ...]] = {"kernel_shape": (kernel, kernel), "strides": (stride, stride)}
        return self.node("AveragePool", x, channels=self.channels[x], **shape, pads=pads)

    def shuffled(self, x: str, groups: int, size: int) -> str:
        """Channels of a map of this size dealt out to groups in turn (ShuffleNet)."""
        n = self.channels[x]
        parts = self.value(np.array([1, groups, n // groups, size, size]))
        dealt = self.node("Transpose", self.node("Reshape", x, parts, channels=n), channels=n, perm=(0, 2, 1, 3, 4))
        return self.node("Reshape", dealt, self.value(np.array([1, n, size, size])), channels=n)

    def gate(self, x: str, n_inner: int) -> str:
        """Squeeze and excitation: channels scaled by what their means say."""
        n = self.channels[x]
        mean = self.node("GlobalAveragePool", x, channels=n)
        inner = self.relu(self._biased(mean, n_inner))
        return self.node("Mul", x, self.node("HardSigmoid", self._biased(inner, n), channels=n), channels=n)

    def head(self, x: str, n_classes: int) -> str:
        """Mean over the map and a linear layer."""
        n = self.channels[x]
        flat = self.node("Flatten", self.node("GlobalAveragePool", x, channels=n), channels=n)
        return self.linear(flat, n_classes)

    def linear(self, x: str, n_out: int) -> str:
        """A linear layer on a flat tensor."""
        weight, bias = self._weight((n_out, self.channels[x])), self._weight((n_out,))
        return self.node("Gemm", x, weight, bias, channels=n_out, transB=1)

    def value(self, array: NDArray[np.generic]) -> str:
        """A constant whose values matter."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def model(self, output: str) -> onnx.ModelProto:
        """The finished network."""
        shapes: Mapping[str, Sequence[int | None]] = {"x": [1, 3, self.size, self.size], output: [1, None]}
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
        graph = helper.make_graph(self._nodes, "drawing", [x], [y], self._constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def _biased(self, x: str, n_out: int) -> str:
        weight, bias = self._weight((n_out, self.channels[x], 1, 1)), self._weight((n_out,))
        return self.node("Conv", x, weight, bias, channels=n_out, kernel_shape=(1, 1))

    def _weight(self, shape: Shape) -> str:
        if self._weights is not None:
            return self.value(self._weights.random(shape, np.float32))
        name = f"c{len(self._constants)}"
        self._constants.append(
            TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
        )
        return name
