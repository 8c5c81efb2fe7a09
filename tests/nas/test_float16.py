"""Half precision: what is converted, what stays float32, and what is refused."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from nas.export import feed
from nas.float16 import to_float16
from nas.trace import onnx_bytes
from tests.search_spaces.networks import EXAMPLES, build

X = np.random.default_rng(0).standard_normal((4, 3, 6, 6)).astype(np.float32)


def run(content: bytes, feed: dict[str, NDArray[np.generic]]) -> NDArray[np.float32]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    answer: NDArray[np.float32] = session.run(None, dict(feed))[0]
    return answer


def types(content: bytes) -> dict[str, int]:
    """Type of every tensor, by ONNX's strict inference."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content), strict_mode=True)
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def computing(content: bytes, operator: str) -> set[int]:
    """Types that the nodes of an operator read."""
    known = types(content)
    return {known[node.input[0]] for node in onnx.load_from_string(content).graph.node if node.op_type == operator}


def exported(module: nn.Module, *inputs: torch.Tensor) -> tuple[bytes, dict[str, NDArray[np.generic]]]:
    return onnx_bytes(module.eval(), inputs), feed(inputs)


def image_network(*layers: nn.Module) -> tuple[bytes, dict[str, NDArray[np.generic]]]:
    torch.manual_seed(0)
    return exported(nn.Sequential(nn.Conv2d(3, 8, 3), *layers), torch.from_numpy(X))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_kind_of_network_comes_close_to_float32(name: str) -> None:
    content, inputs = exported(*(lambda built: (built[0], *built[1]))(build(name)))
    converted = to_float16(content, inputs)
    wanted, got = run(content, inputs), run(converted, inputs)
    assert got.dtype == np.float32
    assert 1e-6 < np.abs(got - wanted).max() / np.abs(wanted).max() < 2e-3
    model = onnx.load_from_string(converted)
    onnx.checker.check_model(model, full_check=True)
    assert {v.type.tensor_type.elem_type for v in model.graph.output} == {TensorProto.FLOAT}
    for operator in ("Conv", "Gemm", "MatMul"):
        assert computing(converted, operator) <= {TensorProto.FLOAT16}


def test_weights_take_half_the_space() -> None:
    content, inputs = image_network(nn.ReLU(), nn.Conv2d(8, 256, 3))
    assert 0.45 < len(to_float16(content, inputs)) / len(content) < 0.55


def test_sums_over_maps_stay_float32() -> None:
    content, inputs = image_network(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2), nn.Softmax(1))
    converted = to_float16(content, inputs)
    assert computing(converted, "GlobalAveragePool") == {TensorProto.FLOAT}
    assert computing(converted, "Softmax") == {TensorProto.FLOAT}
    assert computing(converted, "Relu") == {TensorProto.FLOAT16}


def test_clip_and_max_are_half_precision() -> None:
    content, inputs = image_network(nn.ReLU6())
    assert computing(to_float16(content, inputs), "Clip") == {TensorProto.FLOAT16}


def graph(nodes: Sequence[Any], weight: float = 1.0) -> bytes:
    """Nodes from `x` (n, 2) over `a` = x @ I * weight to `y`."""
    constants = [numpy_helper.from_array(np.eye(2, dtype=np.float32) * np.float32(weight), "w")]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("x", "y")]
    first = helper.make_node("MatMul", ["x", "w"], ["a"])
    built = helper.make_graph([first, *nodes], "g", values[:1], values[1:], constants)
    content: bytes = helper.make_model(
        built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return content


def test_neighbours_in_float32_pass_float32_on() -> None:
    """100000 = 316 squared does not fit half precision, its mean's root does."""
    axes = {"axes": [1], "keepdims": 0}
    nodes = [
        helper.make_node("Pow", ["a", "two"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["mean"], **axes),
        helper.make_node("Sqrt", ["mean"], ["root"]),
        helper.make_node("Unsqueeze", ["root", "one"], ["column"]),
        helper.make_node("Div", ["a", "column"], ["y"]),
    ]
    model = onnx.load_from_string(graph(nodes))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(2), "two"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
    x = np.array([[300.0, 100.0]], np.float32)
    with pytest.raises(ValueError, match="activation mean reaches 5e\\+04"):
        to_float16(model.SerializeToString(), {"x": x})
    small = to_float16(model.SerializeToString(), {"x": x / 10})
    kinds = [node.op_type for node in onnx.load_from_string(small).graph.node]
    assert kinds.index("ReduceMean") == kinds.index("Pow") + 1
    np.testing.assert_allclose(run(small, {"x": x / 10}), run(model.SerializeToString(), {"x": x}), rtol=2e-3)


RELU = [helper.make_node("Relu", ["a"], ["y"])]


@pytest.mark.parametrize(
    ("content", "x", "problem"),
    [
        (graph(RELU, weight=1e5), 1.0, "the constant w reaches 1e\\+05, float16 ends at 65504"),
        (graph(RELU, weight=float("nan")), 1.0, "the constant w is NaN"),
        (graph(RELU, weight=1000.0), 40.0, "activation a reaches 4e\\+04 on the calibration"),
        (graph(RELU), 4e4, "activation x reaches 4e\\+04"),
        (graph(RELU), float("nan"), "activation x reaches nan"),
    ],
)
def test_what_is_too_large_is_refused(content: bytes, x: float, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        to_float16(content, {"x": np.full((3, 2), x, np.float32)})


@pytest.mark.parametrize("bad", [{}, {"z": np.zeros((1, 2), np.float32)}, {"x": np.zeros((1, 3), np.float32)}])
def test_calibration_that_does_not_fit(bad: dict[str, NDArray[np.generic]]) -> None:
    with pytest.raises(ValueError, match="calibration does not fit"):
        to_float16(graph(RELU), bad)


def test_nothing_to_compute() -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    built = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    with pytest.raises(ValueError, match="no convolution or matrix product"):
        to_float16(helper.make_model(built).SerializeToString(), {"x": np.zeros(2, np.float32)})


def masked(value: float) -> Callable[[], tuple[bytes, dict[str, NDArray[np.generic]]]]:
    def build() -> tuple[bytes, dict[str, NDArray[np.generic]]]:
        nodes = [helper.make_node("Add", ["a", "mask"], ["s"]), helper.make_node("Softmax", ["s"], ["y"])]
        model = onnx.load_from_string(graph(nodes))
        model.graph.initializer.append(numpy_helper.from_array(np.array([0, value], np.float32), "mask"))
        return model.SerializeToString(), {"x": np.ones((1, 2), np.float32)}

    return build


def test_an_attention_mask_of_the_lowest_number_still_masks() -> None:
    content, inputs = masked(float(np.finfo(np.float32).min))()
    np.testing.assert_array_equal(run(to_float16(content, inputs), inputs), [[1, 0]])
