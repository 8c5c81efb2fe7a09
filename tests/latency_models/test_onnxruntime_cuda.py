"""What can be checked without a GPU, and, marked `gpu`, what cannot."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from latency_models import onnxruntime_cuda
from latency_models.artifact import Artifact
from latency_models.errors import DeviceError, LatencyError
from latency_models.onnxruntime_cuda import CUDA, OrtCudaRunner, check_placement
from latency_models.profiles import resolve
from latency_models.target import Target
from latency_models.timing import SelfTimed
from tests.latency_models.contract import FEED, BackendContract, two_input_network

CUDA_TARGET = resolve("cuda")
HAS_PROVIDER = not onnxruntime_cuda.missing(CUDA_TARGET)
needs_gpu = pytest.mark.skipif(not HAS_PROVIDER, reason="needs an NVIDIA GPU and onnxruntime-gpu")


def node(operator: str, provider: str, *kinds: str) -> dict[str, Any]:
    outputs = [{kind: [1, 2]} for kind in kinds]
    return {"cat": "Node", "args": {"op_name": operator, "provider": provider, "output_type_shape": outputs}}


CONV = node("Conv", CUDA, "float")


def test_shapes_may_be_computed_on_the_processor() -> None:
    shape = node("Gather", "CPUExecutionProvider", "int64")
    check_placement([{"cat": "Session", "args": {}}, CONV, shape], "cuda")


@pytest.mark.parametrize("kind", ["float", "float16", "double"])
def test_numbers_may_not(kind: str) -> None:
    nodes = [node(operator, "CPUExecutionProvider", kind) for operator in ("Softmax", "MatMul")]
    with pytest.raises(LatencyError, match="On cuda ONNX Runtime computes MatMul, Softmax on the processor"):
        check_placement([CONV, *nodes], "cuda")


@pytest.mark.parametrize("events", [[], [node("Gather", "CPUExecutionProvider", "int64")]])
def test_something_must_be_computed_on_the_gpu(events: list[dict[str, Any]]) -> None:
    with pytest.raises(LatencyError, match="computes everything on the processor"):
        check_placement(events, "cuda")


def test_a_real_profile_of_the_processor_is_refused(tmp_path: Path) -> None:
    """The profiler's format is ONNX Runtime's own here, not one made up for the test."""
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "p")
    artifact = two_input_network(tmp_path / "n.onnx")
    session = ort.InferenceSession(artifact.read(), options, providers=["CPUExecutionProvider"])
    session.run(None, dict(FEED))
    events = json.loads(Path(session.end_profiling()).read_text())
    with pytest.raises(LatencyError, match="computes Add, Gemm on the processor"):
        check_placement(events, "cuda")
    for event in events:
        if "provider" in event.get("args", {}):
            event["args"]["provider"] = CUDA
    check_placement(events, "cuda")


@pytest.mark.skipif(HAS_PROVIDER, reason="there is a GPU")
def test_without_a_gpu_everything_is_refused_and_said(tmp_path: Path) -> None:
    lacking = onnxruntime_cuda.missing(CUDA_TARGET)
    assert any("onnxruntime-gpu" in entry.what or "driver" in entry.what for entry in lacking)
    with pytest.raises(DeviceError, match=r"cuda needs .*(driver|CUDA provider)"):
        onnxruntime_cuda.load(two_input_network(tmp_path / "n.onnx"), CUDA_TARGET, FEED)


def test_int8_is_refused(tmp_path: Path) -> None:
    artifact = replace(two_input_network(tmp_path / "n.onnx"), precision="int8")
    with pytest.raises(LatencyError, match=r"cuda does not compute in int8: .*no int8 convolution"):
        onnxruntime_cuda.load(artifact, CUDA_TARGET, FEED)


def test_times_of_kernels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match="does not say how long each kernel takes"):
        onnxruntime_cuda.kernels(two_input_network(tmp_path / "n.onnx"), CUDA_TARGET, FEED)


def test_a_session_that_fell_back_is_the_devices_fault(tmp_path: Path) -> None:
    artifact = two_input_network(tmp_path / "n.onnx")
    with pytest.raises(DeviceError, match="has fallen back to the processor"):
        onnxruntime_cuda._session(artifact.read(), ort.SessionOptions(), ["CPUExecutionProvider"])


def test_environment_says_how_it_is_timed() -> None:
    environment = onnxruntime_cuda.environment(CUDA_TARGET)
    assert (environment["provider"], environment["clock"], environment["tf32"]) == (CUDA, "CUDA events", "off")


@pytest.mark.gpu
@needs_gpu
class TestOnnxRuntimeCuda(BackendContract):
    target = CUDA_TARGET

    def load(self, artifact: Artifact, target: Target, feed: Mapping[str, NDArray[np.generic]]) -> OrtCudaRunner:
        return onnxruntime_cuda.load(artifact, target, feed)

    def environment(self, target: Target) -> dict[str, str]:
        return onnxruntime_cuda.environment(target)

    def test_it_is_timed_by_its_own_clock(self, tmp_path: Path) -> None:
        runner = self.load(two_input_network(tmp_path / "n.onnx"), self.target, FEED)
        assert isinstance(runner, SelfTimed)
        assert all(0 < sample < 1 for sample in runner.sample_s(3, 2))
