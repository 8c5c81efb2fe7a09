"""Every operator against ONNX Runtime (`load` compares the two and refuses a difference)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from latency_models import tvm_backend
from tests.latency_models.tvm_backend.networks import TARGET, Array, network, node, normal

pytest.importorskip("tvm", reason="TVM is not installed")

IMAGE = normal(1, 6, 7, 9)
MATRIX = normal(2, 9)


def check(
    tmp_path: Path, nodes: list[onnx.NodeProto], feed: dict[str, Array], constants: Mapping[str, Any] | None = None
) -> None:
    artifact = network(tmp_path / "n.onnx", nodes, feed, constants)
    loaded = tvm_backend.load(artifact, TARGET, feed)
    other = {
        name: array[..., ::-1].copy() if array.dtype == np.float32 and array.ndim else array
        for name, array in feed.items()
    }
    found, wanted = (np.asarray(one.outputs(other)[0], np.float64) for one in (loaded, loaded.reference))
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(wanted).max())))


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "3x3": ((1, 6, 7, 9), (10, 6, 3, 3), {"pads": [1, 1, 1, 1]}),
    "1x1": ((1, 6, 7, 9), (13, 6, 1, 1), {}),
    "1x1 of one channel": ((1, 1, 7, 9), (1, 1, 1, 1), {}),
    "stride": ((1, 3, 8, 8), (11, 3, 3, 3), {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    "uneven stride and pads": ((1, 3, 8, 8), (4, 3, 3, 2), {"pads": [0, 1, 2, 0], "strides": [1, 2]}),
    "same": ((1, 3, 8, 8), (5, 3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "dilation": ((1, 6, 9, 9), (8, 6, 3, 3), {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
    "depthwise": ((1, 6, 7, 9), (6, 1, 3, 3), {"pads": [1, 1, 1, 1], "group": 6}),
    "depthwise twice": ((1, 6, 7, 9), (12, 1, 3, 3), {"pads": [1, 1, 1, 1], "group": 6}),
    "groups": ((1, 6, 7, 9), (10, 3, 3, 3), {"pads": [1, 1, 1, 1], "group": 2}),
    "batch": ((3, 6, 5, 5), (7, 6, 3, 3), {"pads": [1, 1, 1, 1]}),
    "1-D": ((1, 5, 20), (9, 5, 3), {"pads": [1, 1], "strides": [2]}),
    "1-D depthwise": ((1, 5, 20), (5, 1, 3), {"pads": [1, 1], "group": 5}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(tmp_path: Path, name: str) -> None:
    shape, weight, attributes = CONVOLUTIONS[name]
    constants = {"w": normal(*weight, seed=1), "b": normal(weight[0], seed=2)}
    check(tmp_path, [node("Conv", "x w b", **attributes)], {"x": normal(*shape)}, constants)


@pytest.mark.parametrize("attributes", [{}, {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}])
def test_transposed_convolutions(tmp_path: Path, attributes: dict[str, Any]) -> None:
    constants = {"w": normal(6, 5, 3, 3), "b": normal(5)}
    check(tmp_path, [node("ConvTranspose", "x w b", **attributes)], {"x": IMAGE}, constants)


UNARY: dict[str, dict[str, Any]] = {
    "Relu": {}, "LeakyRelu": {"alpha": 0.2}, "Sigmoid": {}, "Tanh": {}, "HardSigmoid": {"alpha": 0.3}, "HardSwish": {},
    "Erf": {}, "Softplus": {}, "Elu": {"alpha": 0.7}, "Exp": {}, "Neg": {}, "Abs": {}, "Floor": {}, "Identity": {},
}  # fmt: skip


def test_activations(tmp_path: Path) -> None:
    """All at once, each on its own copy of the input: they share nothing but the sum."""
    nodes = [node(operator, "x", f"y{i}", **attributes) for i, (operator, attributes) in enumerate(UNARY.items())]
    nodes.append(node("Concat", [f"y{i}" for i in range(len(UNARY))], "y", axis=1))
    check(tmp_path, nodes, {"x": IMAGE * 3})


def test_activations_of_positive_numbers(tmp_path: Path) -> None:
    nodes = [node(operator, "x", f"y{i}") for i, operator in enumerate(("Sqrt", "Log", "Reciprocal"))]
    check(tmp_path, [*nodes, node("Concat", "y0 y1 y2", axis=1)], {"x": np.abs(IMAGE) + 0.1})


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Min", "Max"])
def test_arithmetic_of_two_layouts(tmp_path: Path, operator: str) -> None:
    """A convolution's padded, channels-last output with constants, scalars and an input that lies as in ONNX."""
    constants = {
        "w": normal(9, 6, 1, 1),
        "c": np.abs(normal(9, 1, 1)) + 1,
        "s": np.float32(1.5),
        "o": normal(11, 9, 1, 1),
    }
    nodes = [
        node("Conv", "x w", "a"), node(operator, "a c", "b"), node(operator, "b s", "d"),
        node("Abs", "z", "za"), node("Add", "za s", "zb"), node(operator, "d zb", "e"), node("Conv", "e o", "y"),
    ]  # fmt: skip
    check(tmp_path, nodes, {"x": IMAGE, "z": normal(1, 9, 7, 9)}, constants)


def test_relu6_prelu_and_batch_norm_after_a_padded_convolution(tmp_path: Path) -> None:
    constants = {
        "w": normal(9, 6, 1, 1), "low": np.float32(0), "high": np.float32(6), "slope": normal(9, 1, 1),
        "scale": normal(9), "bias": normal(9), "mean": normal(9), "var": np.abs(normal(9)) + 0.5,
    }  # fmt: skip
    nodes = [
        node("Conv", "x w", "a"), node("PRelu", "a slope", "b"),
        node("BatchNormalization", "b scale bias mean var", "c"),
        node("Clip", "c low high", "y"),
    ]  # fmt: skip
    check(tmp_path, nodes, {"x": IMAGE}, constants)


POOLS: dict[str, tuple[str, dict[str, Any]]] = {
    "max": ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "average": ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "average with pads": ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    "average without pads": ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "global": ("GlobalAveragePool", {}),
}


@pytest.mark.parametrize("name", POOLS)
def test_pooling_of_padded_channels(tmp_path: Path, name: str) -> None:
    operator, attributes = POOLS[name]
    nodes = [node("Conv", "x w", "a"), node(operator, "a", "y", **attributes)]
    check(tmp_path, nodes, {"x": IMAGE}, {"w": normal(9, 6, 1, 1)})


@pytest.mark.parametrize(
    ("mode", "coordinates"), [("nearest", "asymmetric"), ("linear", "half_pixel"), ("linear", "align_corners")]
)
def test_resizing(tmp_path: Path, mode: str, coordinates: str) -> None:
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": "floor"}
    made = [node("Resize", ["x", "", "scales"], "y", **attributes)]
    check(tmp_path, made, {"x": IMAGE}, {"scales": np.array([1, 1, 2, 2], np.float32)})


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceMax", "ReduceL2"])
@pytest.mark.parametrize(("axes", "keepdims"), [([2, 3], 0), ([1], 1), ([-1], 1)])
def test_reductions(tmp_path: Path, operator: str, axes: list[int], keepdims: int) -> None:
    nodes = [node("Conv", "x w", "a"), node(operator, "a", "y", axes=axes, keepdims=keepdims)]
    check(tmp_path, nodes, {"x": IMAGE}, {"w": normal(9, 6, 1, 1)})


def test_reduce_sum_takes_its_axes_as_an_input(tmp_path: Path) -> None:
    check(tmp_path, [node("ReduceSum", "x axes", keepdims=0)], {"x": IMAGE}, {"axes": np.array([1])})


@pytest.mark.parametrize("axis", [1, -1])
def test_softmax(tmp_path: Path, axis: int) -> None:
    nodes = [node("Conv", "x w", "a"), node("Softmax", "a", axis=axis)]
    check(tmp_path, nodes, {"x": IMAGE}, {"w": normal(9, 6, 1, 1)})


def test_gemm_with_transposed_weights_and_scales(tmp_path: Path) -> None:
    constants = {"w": normal(37, 9), "b": normal(37), "v": normal(37, 11)}
    nodes = [
        node("Gemm", "x w b", "a", transB=1, alpha=0.5, beta=2.0),
        node("Relu", "a", "r"),
        node("Gemm", "r v", "y"),
    ]
    check(tmp_path, nodes, {"x": MATRIX}, constants)


def test_matrix_products_in_batches(tmp_path: Path) -> None:
    check(tmp_path, [node("MatMul", "a b")], {"a": normal(2, 3, 5, 4), "b": normal(2, 3, 4, 6)})


def test_layer_normalisation_and_gelu_of_tokens(tmp_path: Path) -> None:
    constants = {
        "w": normal(9, 13), "b": normal(13), "v": normal(13, 9), "scale": normal(9), "shift": normal(9),
        "root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5),
    }  # fmt: skip
    nodes = [
        node("LayerNormalization", "x scale shift", "n", axis=-1), node("MatMul", "n w", "m"), node("Add", "b m", "a"),
        node("Div", "a root", "d"), node("Erf", "d", "e"), node("Add", "e one", "f"), node("Mul", "a f", "g"),
        node("Mul", "g half", "h"), node("MatMul", "h v", "o"), node("Add", "x o", "y"),
    ]  # fmt: skip
    check(tmp_path, nodes, {"x": normal(1, 5, 9)}, constants)


def test_attention_splits_heads_and_joins_them(tmp_path: Path) -> None:
    constants = {
        "w": normal(8, 24), "to": np.array([0, 5, 3, 2, 4]), "scale": np.float32(0.5), "back": np.array([0, 5, 8]),
        "q": np.int64(0), "k": np.int64(1), "v": np.int64(2),
    }  # fmt: skip
    nodes = [
        node("MatMul", "x w", "qkv"), node("Reshape", "qkv to", "r"), node("Transpose", "r", "t", perm=[2, 0, 3, 1, 4]),
        *(node("Gather", f"t {part}", part.upper(), axis=0) for part in "qkv"),
        node("Transpose", "K", "Kt", perm=[0, 1, 3, 2]), node("MatMul", "Q Kt", "s"), node("Mul", "s scale", "m"),
        node("Softmax", "m", "p", axis=-1), node("MatMul", "p V", "o"), node("Transpose", "o", "u", perm=[0, 2, 1, 3]),
        node("Reshape", "u back", "y"),
    ]  # fmt: skip
    check(tmp_path, nodes, {"x": normal(1, 5, 8)}, constants)


def test_flattened_channels_reorder_the_weights_that_follow(tmp_path: Path) -> None:
    constants = {"w": normal(9, 6, 1, 1), "v": normal(9 * 7 * 9, 5)}
    nodes = [node("Conv", "x w", "a"), node("Flatten", "a", "f"), node("Gemm", "f v", "y")]
    check(tmp_path, nodes, {"x": IMAGE}, constants)


def test_flattened_channels_that_are_an_output(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w", "a"), node("Flatten", "a", "f"), node("Relu", "f", "y")]
    check(tmp_path, nodes, {"x": IMAGE}, {"w": normal(9, 6, 1, 1)})


def test_channels_are_shuffled_split_joined_and_gathered(tmp_path: Path) -> None:
    constants = {
        "w": normal(10, 6, 1, 1),
        "to": np.array([0, 2, 5, 7, 9]),
        "back": np.array([0, 10, 7, 9]),
        "i": np.array([3, 0, 7]),
    }
    nodes = [
        node("Conv", "x w", "a"), node("Reshape", "a to", "r"), node("Transpose", "r", "t", perm=[0, 2, 1, 3, 4]),
        node("Reshape", "t back", "s"), node("Split", "s", "p q", axis=1), node("Concat", "q p a", "c", axis=1),
        node("Gather", "c i", "y", axis=1),
    ]  # fmt: skip
    check(tmp_path, nodes, {"x": IMAGE}, constants)


def test_slices_pads_expansion_and_squeezing(tmp_path: Path) -> None:
    constants = {
        "start": np.array([1, 0]), "end": np.array([6, 9]), "axes": np.array([1, 3]), "step": np.array([2, 3]),
        "pads": np.array([0, 0, 1, 0, 0, 0, 0, 2]), "shape": np.array([1, 3, 8, 5]), "first": np.array([0]),
    }  # fmt: skip
    nodes = [
        node("Slice", "x start end axes step", "s"), node("Pad", "s pads", "p"), node("Squeeze", "p first", "q"),
        node("Unsqueeze", "q first", "u"), node("Expand", "u shape", "y"),
    ]  # fmt: skip
    check(tmp_path, nodes, {"x": IMAGE}, constants)


def test_shapes_are_computed_while_importing(tmp_path: Path) -> None:
    """The graph that torch writes for `x.view(x.shape[0], -1)`."""
    constants = {"zero": np.int64(0), "axis": np.array([0]), "rest": np.array([-1])}
    nodes = [
        node("Shape", "x", "s"), node("Gather", "s zero", "n", axis=0), node("Unsqueeze", "n axis", "u"),
        node("Concat", "u rest", "to", axis=0), node("Reshape", "x to", "y"),
    ]  # fmt: skip
    check(tmp_path, nodes, {"x": IMAGE}, constants)


def test_choices_casts_and_table_look_up(tmp_path: Path) -> None:
    constants = {"table": normal(11, 4), "zero": np.float32(0), "two": np.float32(2)}
    nodes = [
        node("Gather", "table i", "rows", axis=0), node("Greater", "rows zero", "g"), node("Where", "g rows two", "w"),
        node("Cast", "g", "c", to=onnx.TensorProto.FLOAT), node("Add", "w c", "y"),
    ]  # fmt: skip
    check(tmp_path, nodes, {"i": np.array([[3, 10, 0]])}, constants)


def test_powers(tmp_path: Path) -> None:
    constants = {"two": np.float32(2), "three": np.float32(3), "half": np.float32(0.5), "odd": np.float32(1.7)}
    nodes = [node("Pow", f"x {name}", f"y_{name}") for name in constants]
    nodes.append(node("Concat", [f"y_{name}" for name in constants], "y", axis=1))
    check(tmp_path, nodes, {"x": np.abs(IMAGE) + 0.1}, constants)
