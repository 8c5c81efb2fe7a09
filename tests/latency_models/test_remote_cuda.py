"""A Jetson's GPU without a Jetson: what is uploaded, and what is refused."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tvm", reason="needs apache-tvm")

from latency_models import remote_cuda
from latency_models.backend import BACKENDS
from latency_models.errors import DeviceError, LatencyError
from latency_models.profiles import resolve
from tests.latency_models.small_networks import FEED, convolutional

JETSON = resolve("tvm-rpc:jetson-orin@127.0.0.1:9")  # the port that discards: nothing answers there
needs_compiler = pytest.mark.skipif(
    shutil.which("aarch64-linux-gnu-gcc") is None, reason="needs apt-get install gcc-aarch64-linux-gnu"
)


def test_a_gpu_behind_rpc_is_never_measured_on_its_processor() -> None:
    assert BACKENDS["rpc", "tvm", "cuda"] == "latency_models.remote_cuda"


@needs_compiler
def test_what_is_uploaded_is_an_arm_library_with_cuda_c_inside(tmp_path: Path) -> None:
    path = tmp_path / "network.so"
    assert remote_cuda.export(convolutional(tmp_path / "n.onnx"), JETSON, FEED, path) == ("x",)
    content = path.read_bytes()
    assert content[:4] == b"\x7fELF"
    assert int.from_bytes(content[18:20], "little") == 183  # EM_AARCH64
    assert b"__global__ void" in content
    symbols = subprocess.run(
        ["aarch64-linux-gnu-nm", "-D", str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert "__tvm_ffi__library_bin" in symbols


def test_a_compiler_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert JETSON.remote is not None
    target = replace(JETSON, remote=replace(JETSON.remote, compiler="no-such-gcc"))
    assert any("no-such-gcc" in entry.what for entry in remote_cuda.missing(target))
    with pytest.raises(LatencyError, match="no-such-gcc cannot link the network for jetson-orin"):
        remote_cuda.export(convolutional(tmp_path / "n.onnx"), target, FEED, tmp_path / "network.so")


def test_a_device_that_does_not_answer() -> None:
    assert JETSON.remote is not None
    with pytest.raises(DeviceError, match=r"127\.0\.0\.1:9"):
        remote_cuda.environment(replace(JETSON, remote=replace(JETSON.remote, connect_s=0.5)))


def test_int8_and_single_kernels_are_refused(tmp_path: Path) -> None:
    artifact = convolutional(tmp_path / "n.onnx")
    with pytest.raises(LatencyError, match="does not compute in int8"):
        remote_cuda.load(replace(artifact, precision="int8"), JETSON, FEED)
    with pytest.raises(LatencyError, match="cannot be timed one by one"):
        remote_cuda.kernels(artifact, JETSON, FEED)
