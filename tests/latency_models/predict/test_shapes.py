import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from latency_models.errors import LatencyError
from latency_models.predict.graph import graph_of
from latency_models.predict.shapes import Unknown, broadcast, shapes_of
from tests.latency_models.predict.networks import model, weight

node = helper.make_node
PADS = {"pads": [1, 0, 2, 1]}
CASES: dict[str, tuple[onnx.NodeProto, dict[str, NDArray[np.generic]]]] = {
    "conv": (node("Conv", ["x", "w"], ["y"], strides=[2, 1], dilations=[1, 2], **PADS), {"w": weight(5, 3, 3, 2)}),
    "same": (node("Conv", ["x", "w"], ["y"], strides=[3, 3], auto_pad="SAME_UPPER"), {"w": weight(5, 3, 3, 3)}),
    "transposed": (
        node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], output_padding=[1, 0], **PADS),
        {"w": weight(3, 4, 3, 3)},
    ),
    "pool": (node("MaxPool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 2], **PADS), {}),
    "ceil": (node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), {}),
    "global": (node("GlobalMaxPool", ["x"], ["y"]), {}),
    "flatten": (node("Flatten", ["x"], ["y"], axis=2), {}),
    "reshape": (node("Reshape", ["x", "s"], ["y"]), {"s": np.array([0, -1, 4])}),
    "transpose": (node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1]), {}),
    "turned": (node("Transpose", ["x"], ["y"]), {}),
    "concat": (node("Concat", ["x", "x", "x"], ["y"], axis=-1), {}),
    "unsqueeze": (node("Unsqueeze", ["x", "a"], ["y"]), {"a": np.array([1, -1])}),
    "squeeze": (node("Squeeze", ["x"], ["y"]), {}),
    "pad": (node("Pad", ["x", "p"], ["y"]), {"p": np.array([0, 1, 2, 3, 0, 0, 1, 1])}),
    "mean": (node("ReduceMean", ["x"], ["y"], axes=[2, -1], keepdims=0), {}),
    "sum": (node("ReduceSum", ["x", "a"], ["y"]), {"a": np.array([1])}),
    "add": (node("Add", ["x", "b"], ["y"]), {"b": weight(2, 3, 1, 1)}),
    "matmul": (node("MatMul", ["x", "b"], ["y"]), {"b": weight(2, 1, 8, 5)}),
    "softmax": (node("Softmax", ["x"], ["y"]), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rule_says_what_onnx_says(name: str) -> None:
    operator, constants = CASES[name]
    small = model([operator], constants)
    small.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    small.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(small, strict_mode=True, data_prop=True).graph.output[0]
    wanted = tuple(dim.dim_value for dim in inferred.type.tensor_type.shape.dim)
    assert shapes_of(graph_of(small))["y"] == wanted


def test_gemm_with_turned_operands() -> None:
    nodes = [node("Flatten", ["x"], ["f"], axis=2), node("Gemm", ["f", "w"], ["y"], transA=1, transB=1)]
    assert shapes_of(graph_of(model(nodes, {"w": weight(7, 3)})))["y"] == (64, 7)


def test_broadcasting() -> None:
    assert broadcast([(2, 1, 4), (3, 1), ()]) == (2, 3, 4)


def test_what_has_no_rule_is_unknown() -> None:
    with pytest.raises(Unknown, match="NonZero"):
        shapes_of(graph_of(model([node("NonZero", ["x"], ["y"])], {})))


def test_a_tensor_that_nobody_makes_is_refused() -> None:
    with pytest.raises(LatencyError, match="Squeeze 'y' do not fit"):
        shapes_of(graph_of(model([node("Squeeze", ["no"], ["y"])], {})))
