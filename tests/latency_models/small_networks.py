"""ONNX files of a few nodes, for backends that compile."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latency_models.artifact import Artifact

FEED: dict[str, NDArray[np.generic]] = {
    "x": np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32),
}


def convolutional(path: Path, n_channels: int = 8, operator: str = "Relu") -> Artifact:
    """Convolution, an elementwise operator, strided depthwise convolution, mean over the map, product: (1, 3, 8, 8) to
    (1, 4)."""
    rng = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((rng.standard_normal(shape) / 4).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node(operator, ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], kernel_shape=[3, 3], strides=[2, 2], group=n_channels),
        helper.make_node("ReduceMean", ["c"], ["d"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["d", "w3", "b3"], ["y"]),
    ]
    constants = [
        constant("w1", n_channels, 3, 3, 3),
        constant("b1", n_channels),
        constant("w2", n_channels, 1, 3, 3),
        constant("w3", n_channels, 4),
        constant("b3", 4),
    ]
    values = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4]),
    ]
    graph = helper.make_graph(nodes, "convolutional", values[:1], values[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return Artifact.from_file(path, "float32")
