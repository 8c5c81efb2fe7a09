import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nas.quantize import Method, needs_reduced_range, quantize_int8

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((4, 2, 3, 3)).astype(np.float32)
X = RNG.standard_normal((40, 2, 6, 6)).astype(np.float32)
Z = RNG.standard_normal((40, 3)).astype(np.float32)


Constants = Mapping[str, NDArray[np.float32]]


def made(nodes: Sequence[onnx.NodeProto], inputs: dict[str, list[str | int]], constants: Constants) -> bytes:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def network(n: str | int = "n") -> bytes:
    """Two inputs x (n, 2, 6, 6) and z (n, 3), a shared bias behind Identity, unnamed nodes; y (n, 3)."""
    nodes = [
        helper.make_node("Identity", ["bias"], ["bias_again"]),
        helper.make_node("Conv", ["x", "weight", "bias"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "weight2", "bias_again"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "r1"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Concat", ["flat", "z"], ["both"], axis=1),
        helper.make_node("Gemm", ["both", "head", "head_bias"], ["y"]),
    ]
    constants: dict[str, NDArray[np.float32]] = {
        "weight": WEIGHT,
        "bias": np.array([0.5, -0.5, 0.25, 1.0], np.float32),
        "weight2": RNG.standard_normal((4, 4, 3, 3)).astype(np.float32) / np.float32(6),
        "head": RNG.standard_normal((7, 3)).astype(np.float32),
        "head_bias": np.array([0.0, 1.0, 2.0], np.float32),
    }
    return made(nodes, {"x": [n, 2, 6, 6], "z": [n, 3]}, constants)


def outputs(content: bytes, feed: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    y: NDArray[np.float32] = ort.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, feed)[0]
    return y


# The percentile clips this tiny sample's extremes, which its 40 inputs do not make up for.
@pytest.mark.parametrize(("method", "tolerance"), [("minmax", 0.02), ("percentile", 0.04)])
def test_int8_outputs_are_close_and_the_batch_stays_free(tmp_path: Path, method: Method, tolerance: float) -> None:
    source = network()
    artifact = quantize_int8(source, tmp_path / "n8.onnx", {"x": X, "z": Z}, method=method)
    expected = outputs(source, {"x": X, "z": Z})
    error = np.abs(outputs(artifact.read(), {"x": X, "z": Z}) - expected)
    assert 0 < error.mean() < tolerance * expected.std()
    assert outputs(artifact.read(), {"x": X[:1], "z": Z[:1]}).shape == (1, 3)
    assert artifact.precision == "int8"
    assert artifact.size_bytes == artifact.path.stat().st_size


def test_all_compute_runs_on_int8_weights_per_channel_and_outputs_are_float(tmp_path: Path) -> None:
    artifact = quantize_int8(network(), tmp_path / "n8.onnx", {"x": X, "z": Z}, reduce_range=False)
    model = onnx.load(artifact.path)
    onnx.checker.check_model(model, full_check=True)
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    dequantized = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    compute = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(compute) == 3
    for node in compute:
        weight, scale = (initializers[name] for name in dequantized[node.input[1]].input[:2])
        assert weight.dtype == np.int8
        assert np.abs(weight).max() == 127
        assert scale.shape == ((3,) if node.op_type == "Gemm" else (4,))
    assert compute[-1].output[0] == "y"
    assert not any(array.dtype == np.float32 and array.ndim > 1 for array in initializers.values())
    assert [opset.domain for opset in model.opset_import] == [""]
    assert not model.metadata_props


def test_activation_scale_is_the_calibrated_range_over_255(tmp_path: Path) -> None:
    source = made([helper.make_node("Conv", ["x", "w"], ["y"])], {"x": ["n", 2, 6, 6]}, {"w": WEIGHT})
    x = np.zeros((5, 2, 6, 6), np.float32)
    x[4, 0, 0, 0], x[0, 1, 5, 5] = 41.0, -10.0
    model = onnx.load(quantize_int8(source, tmp_path / "n8.onnx", {"x": x}, n_batch=2).path)
    first = next(node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "x")
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert initializers[first.input[1]] == pytest.approx(51 / 255)
    assert initializers[first.input[2]] == 50


def test_reduced_range_keeps_weights_within_seven_bits(tmp_path: Path) -> None:
    artifact = quantize_int8(network(), tmp_path / "n8.onnx", {"x": X, "z": Z}, reduce_range=True)
    weights = [numpy_helper.to_array(tensor) for tensor in onnx.load(artifact.path).graph.initializer]
    assert max(np.abs(array).max() for array in weights if array.dtype == np.int8) == 64


def test_same_input_same_file_and_nothing_left_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    source = network()
    first, second = (quantize_int8(source, tmp_path / f"{i}.onnx", {"x": X, "z": Z}) for i in range(2))
    assert first.digest == second.digest
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.onnx", "1.onnx", "scratch"]
    assert list(scratch.iterdir()) == []


def test_nothing_is_printed_and_logging_is_left_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    handlers, disabled = list(logging.root.handlers), logging.root.manager.disable
    quantize_int8(network(), tmp_path / "n8.onnx", {"x": X, "z": Z})
    assert capfd.readouterr() == ("", "")
    assert (logging.root.handlers, logging.root.manager.disable) == (handlers, disabled)


def test_a_fixed_batch_is_fed_whole_batches(tmp_path: Path) -> None:
    source = network(n=1)
    artifact = quantize_int8(source, tmp_path / "n8.onnx", {"x": X, "z": Z})
    feed = {"x": X[:1], "z": Z[:1]}
    np.testing.assert_allclose(outputs(artifact.read(), feed), outputs(source, feed), atol=0.1)


def test_nothing_to_quantise_is_refused(tmp_path: Path) -> None:
    source = made([helper.make_node("Relu", ["x"], ["y"])], {"x": ["n", 3]}, {})
    with pytest.raises(ValueError, match="no convolution or matrix product"):
        quantize_int8(source, tmp_path / "n8.onnx", {"x": Z})
    assert not (tmp_path / "n8.onnx").exists()


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ({"x": X}, "the network's inputs are"),
        ({"x": X, "z": Z[:39]}, "same number"),
        ({"x": X[:0], "z": Z[:0]}, "at least 1"),
        ({"x": X[:, :, :, 1:], "z": Z, "w": Z}, "the network's inputs are"),
        ({"x": X[:, :1], "z": Z}, "does not fit"),
        ({"x": X * np.float32(np.nan), "z": Z}, "NaN or infinite"),
    ],
)
def test_calibration_that_does_not_fit_is_refused(
    tmp_path: Path, calibration: dict[str, NDArray[np.generic]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        quantize_int8(network(), tmp_path / "n8.onnx", calibration)


@pytest.mark.parametrize(
    ("flags", "reduced"), [("avx2 avx512f", True), ("avx2 avx512_vnni", False), ("avx2 avx_vnni", False)]
)
def test_range_is_reduced_only_without_vnni(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, reduced: bool
) -> None:
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text(f"model name\t: none\nflags\t\t: fpu {flags} sse\n")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert needs_reduced_range(cpu_info) is reduced
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert needs_reduced_range(cpu_info) is False


def test_what_a_relu_gives_is_quantised_from_zero_to_its_largest_value(tmp_path: Path) -> None:
    source = network()
    model = onnx.load_from_string(source)
    model.graph.output.append(helper.make_tensor_value_info("r1", TensorProto.FLOAT, None))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    largest = session.run(["r1"], {"x": X, "z": Z})[0].max()
    quantized = onnx.load(quantize_int8(source, tmp_path / "n8.onnx", {"x": X, "z": Z}).path)
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    assert initializers["r1_scale"] == pytest.approx(largest / 255)
    assert initializers["r1_zero_point"] == 0


def test_first_layers_may_stay_in_float32(tmp_path: Path) -> None:
    source = network()
    artifact = quantize_int8(source, tmp_path / "n8.onnx", {"x": X, "z": Z}, float32_first=True)
    model = onnx.load(artifact.path)
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    compute = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    kept = [node for node in compute if node.input[1] in initializers]
    assert [initializers[node.input[1]].shape for node in kept] == [(4, 2, 3, 3)]
    assert [node.input[0] for node in kept] == ["x"]
    assert len(compute) == 3
    expected, got = outputs(source, {"x": X, "z": Z}), outputs(artifact.read(), {"x": X, "z": Z})
    whole = outputs(quantize_int8(source, tmp_path / "all.onnx", {"x": X, "z": Z}).read(), {"x": X, "z": Z})
    assert 0 < np.abs(got - expected).mean() < np.abs(whole - expected).mean()
