from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from latency_models import tvm_backend
from latency_models.artifact import Artifact
from latency_models.errors import LatencyError
from latency_models.target import Processor
from tests.latency_models.tvm_backend.networks import TARGET, network, node, normal

pytest.importorskip("tvm", reason="TVM is not installed")

FEED = {"x": normal(1, 4)}


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    artifact = network(tmp_path / "n.onnx", [node("Sinh", "x")], FEED)
    with pytest.raises(LatencyError, match=r"cannot compile the operator Sinh, which makes y\. Time the network with"):
        tvm_backend.load(artifact, TARGET, FEED)


def test_int8_is_refused(tmp_path: Path) -> None:
    constants = {"scale": np.float32(0.1), "zero": np.uint8(0)}
    nodes = [node("QuantizeLinear", "x scale zero", "q"), node("DequantizeLinear", "q scale zero", "y")]
    for precision in ("int8", "float32"):
        artifact = network(tmp_path / "n.onnx", nodes, FEED, constants, precision=precision)
        with pytest.raises(LatencyError, match="int8, which TVM would compute in float32"):
            tvm_backend.load(artifact, TARGET, FEED)


def half_network(path: Path) -> Artifact:
    nodes = [
        node("Cast", "x", "h", to=onnx.TensorProto.FLOAT16),
        node("MatMul", "h w", "m"),
        node("Cast", "m", "y", to=onnx.TensorProto.FLOAT),
    ]
    return network(path, nodes, FEED, {"w": normal(4, 24).astype(np.float16)}, precision="float16")


def test_float16_is_refused_where_the_processor_lacks_it(tmp_path: Path) -> None:
    artifact = half_network(tmp_path / "n.onnx")
    with pytest.raises(LatencyError, match="float16, in which the processor of target tvm-cpu does not compute"):
        tvm_backend.load(artifact, replace(TARGET, processor=Processor(vector_bits=256, float16=False)), FEED)


def test_float16_is_computed_in_float16(tmp_path: Path) -> None:
    processor = TARGET.processor
    if processor is None or not processor.float16:
        pytest.skip("this processor does not compute in half precision")
    loaded = tvm_backend.load(half_network(tmp_path / "n.onnx"), TARGET, FEED)
    matrix = next(kernel for kernel in loaded.compiled.lowered.kernels if kernel.operator == "MatMul")
    assert [argument.dtype for argument in matrix.arguments][:2] == ["float16", "float16"]


def test_an_output_that_is_not_onnx_runtimes_is_refused(tmp_path: Path) -> None:
    from latency_models.tvm_backend.runner import check_outputs

    artifact = network(tmp_path / "n.onnx", [node("Relu", "x")], FEED)
    right = [np.array([1.0, 2.0], np.float32)]
    check_outputs([np.array([1.0, 2.001], np.float32)], right, artifact)
    for wrong, why in (([1.0, 2.003], "off by 0.0015 of the largest"), ([1.0, np.nan], "NaN"), ([1.0], "has shape")):
        with pytest.raises(LatencyError, match=why):
            check_outputs([np.array(wrong, np.float32)], right, artifact)
    half = replace(artifact, precision="float16")
    check_outputs([np.array([1.0, 2.03], np.float32)], right, half)


def test_a_kernel_without_a_schedule_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from latency_models.tvm_backend import lowering

    lowering.clear_scheduled()
    monkeypatch.setattr(lowering, "schedule", lambda func, processor, n_threads: func)
    artifact = network(tmp_path / "n.onnx", [node("Relu", "x")], FEED)
    with pytest.raises(LatencyError, match="no schedule for the kernel relu"):
        lowering.lower(artifact, TARGET, {"x": (1, 4)})
