"""Compiling for GPUs that are not here, the refusals, and the machine that runs the code, on a processor."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tvm", reason="needs apache-tvm")

import tvm
from tvm import relax

from latency_models import tvm_cuda
from latency_models.agreement import reference_outputs
from latency_models.errors import DeviceError, LatencyError
from latency_models.profiles import resolve
from latency_models.target import Processor
from latency_models.timing import SelfTimed
from latency_models.tvm_cuda_build import build, check_scheduled, compile_module, host_of, imported, kernels_of
from latency_models.tvm_machine import Built, Machine
from tests.latency_models.contract import two_input_network
from tests.latency_models.small_networks import FEED, convolutional

GPU = resolve("nvidia-sm90")
NO_GPU = bool(tvm_cuda.missing(GPU))
NVCC = shutil.which("nvcc") or ("/usr/local/cuda/bin/nvcc" if Path("/usr/local/cuda/bin/nvcc").is_file() else None)


def cuda_source(built: Built) -> str:
    """The CUDA C of a network that was compiled without a CUDA runtime."""
    (code,) = [module for host in built.executable.mod.imports for module in host.imports if module.kind == "cuda"]
    return str(code.inspect_source())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(convolutional(tmp_path_factory.mktemp("network") / "n.onnx"), GPU, FEED, "sm_90")


@pytest.mark.skipif(not NO_GPU, reason="with a GPU the module holds its binary")
def test_a_network_becomes_cuda_kernels_without_a_gpu(built: Built) -> None:
    source = cuda_source(built)
    kernels = [line for line in source.splitlines() if line.startswith('extern "C" __global__') and line.endswith("{")]
    assert len(kernels) == len(built.n_flops) == 4
    assert all(any(name in line for line in kernels) for name in built.n_flops)
    assert "threadIdx.x" in source
    assert "blockIdx.x" in source
    assert built.inputs == ("x",)


def test_operations_are_counted(built: Built) -> None:
    (first,) = [n for name, n in built.n_flops.items() if "relu" in name]
    # 8 x 8 places, 8 channels, 27 products and sums each, a bias and a comparison
    assert first == 64 * 8 * (2 * 27 + 2)


@pytest.mark.skipif(NVCC is None or not NO_GPU, reason="needs nvcc")
def test_nvcc_accepts_the_kernels(built: Built, tmp_path: Path) -> None:
    (tmp_path / "k.cu").write_text(cuda_source(built))
    command = [str(NVCC), "-arch=sm_90", "-cubin", "-o", str(tmp_path / "k.cubin"), str(tmp_path / "k.cu")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "k.cubin").stat().st_size > 1000


def fused(folder: Path) -> Any:
    """A module of kernels without schedules."""
    with tvm.target.Target("llvm"):
        return relax.get_pipeline("zero")(imported(convolutional(folder / "n.onnx"), FEED))


def test_a_kernel_without_a_schedule_is_refused(tmp_path: Path) -> None:
    module = fused(tmp_path)
    with pytest.raises(LatencyError, match="no schedule for the kernel"):
        check_scheduled(module)
    for name, function in kernels_of(module).items():
        module[name] = function.with_attr("tirx.is_scheduled", True)
    with pytest.raises(LatencyError, match="no schedule for the kernel"):  # marked, but bound to no threads
        check_scheduled(module)


@pytest.mark.filterwarnings("ignore:No Op registered")
def test_an_operator_that_tvm_lacks_is_refused(tmp_path: Path) -> None:
    artifact = convolutional(tmp_path / "n.onnx", operator="HardSwish")
    artifact.path.write_bytes(artifact.read().replace(b"HardSwish", b"Nonsense!"))
    artifact = type(artifact).from_file(artifact.path, "float32")
    with pytest.raises(LatencyError, match=r"TVM cannot import the network: .*Nonsense!"):
        imported(artifact, FEED)


def test_a_feed_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    artifact = convolutional(tmp_path / "n.onnx")
    with pytest.raises(LatencyError, match=r"inputs are \['x'\], the feed's are \['z'\]"):
        imported(artifact, {"z": FEED["x"]})
    with pytest.raises(LatencyError, match=r"TVM cannot (import|compile)"):
        compile_module(imported(artifact, {"x": np.zeros((1, 5, 8, 8), np.float32)}), "sm_90")


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    artifact = convolutional(tmp_path / "n.onnx")
    artifact.path.write_bytes(b"\xff\xff\xff")
    with pytest.raises(LatencyError, match="TVM cannot load"):
        imported(type(artifact).from_file(artifact.path, "float32"), FEED)


def test_the_host_of_a_gpu() -> None:
    assert host_of(None) == host_of(Processor()) == {"kind": "llvm"}
    board = Processor(triple="aarch64-linux-gnu", cpu="cortex-a78", features="+fullfp16,+dotprod")
    assert host_of(board) == {
        "kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a78", "mattr": ["+fullfp16", "+dotprod"],
    }  # fmt: skip


def test_a_network_for_a_jetson_has_an_arm_host(tmp_path: Path) -> None:
    jetson = resolve("tvm-rpc:jetson-orin@127.0.0.1:9090")
    executable = build(convolutional(tmp_path / "n.onnx"), jetson, FEED, jetson.cuda_arch).executable
    assert "aarch64" in executable.mod.imports[0].inspect_source("ll")


@pytest.mark.skipif(not NO_GPU, reason="there is a GPU")
def test_without_a_gpu_loading_is_refused(tmp_path: Path) -> None:
    artifact = convolutional(tmp_path / "n.onnx")
    for ask in (tvm_cuda.load, tvm_cuda.kernels):
        with pytest.raises(DeviceError, match="nvidia-sm90 needs "):
            ask(artifact, GPU, FEED)


def test_int8_is_refused(tmp_path: Path) -> None:
    artifact = replace(convolutional(tmp_path / "n.onnx"), precision="int8")
    with pytest.raises(LatencyError, match="nvidia-sm90 does not compute in int8"):
        tvm_cuda.load(artifact, GPU, FEED)


def test_environment_names_tvm() -> None:
    environment = tvm_cuda.environment(GPU)
    assert environment["tvm"] == tvm.__version__
    assert environment["clock"] == "CUDA events"


@pytest.fixture(scope="module")
def on_processor(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """The machine of a GPU, on a processor with kernels that have no schedule: it is not timed for its latency here."""
    module = fused(tmp_path_factory.mktemp("machine"))
    executable = tvm.compile(module, target=tvm.target.Target("llvm"))
    return Machine.on(Built(executable, ("x",), dict.fromkeys(kernels_of(module), 7)), FEED, tvm.cpu())


def test_the_machine_computes_the_network(on_processor: Machine, tmp_path: Path) -> None:
    artifact = convolutional(tmp_path / "m.onnx")
    other = {"x": np.asarray(FEED["x"] * np.float32(2))}
    for feed in (FEED, other):
        np.testing.assert_allclose(on_processor.outputs(feed)[0], reference_outputs(artifact, feed)[0], rtol=1e-4)


def test_the_machine_is_timed_by_its_device(on_processor: Machine) -> None:
    assert isinstance(on_processor, SelfTimed)
    on_processor.run()
    samples = on_processor.sample_s(3, 2)
    assert len(samples) == 3
    assert all(0 < sample < 1 for sample in samples)


def test_the_machine_times_each_kernel(on_processor: Machine) -> None:
    first, second, *rest = on_processor.kernels()
    assert [(k.operator, k.n_in, k.n_out, k.groups, k.shape) for k in (first, second)] == [
        ("Conv", 3, 8, 1, (1, 8, 8, 8)), ("Conv", 8, 8, 8, (1, 8, 3, 3)),
    ]  # fmt: skip
    assert [(k.operator, k.shape) for k in rest] == [("ReduceMean", (1, 8)), ("MatMul", (1, 4))]
    assert all(0 < k.seconds < 1 and k.n_flops == 7 and k.precision == "float32" for k in (first, second, *rest))
    assert first.n_bytes == 4 * (3 * 64 + 8 * 27 + 8 + 8 * 64)


@pytest.mark.parametrize("bad", [np.zeros((2, 3, 8, 8), np.float32), np.zeros((1, 3, 8, 8))])
def test_the_machine_refuses_what_it_was_not_compiled_for(on_processor: Machine, bad: Any) -> None:
    with pytest.raises(LatencyError, match="was compiled for the inputs"):
        on_processor.outputs({"x": bad})


def test_the_machine_refuses_outputs_that_are_not_finite(on_processor: Machine) -> None:
    with pytest.raises(LatencyError, match="NaN or infinite"):
        on_processor.outputs({"x": np.full((1, 3, 8, 8), 1e38, np.float32)})


@pytest.mark.gpu
@pytest.mark.skipif(NO_GPU, reason="needs an NVIDIA GPU and its CUDA 13 runtime")
def test_on_a_gpu_the_network_agrees_and_is_timed(tmp_path: Path) -> None:
    target, artifact = resolve("tvm-cuda"), convolutional(tmp_path / "n.onnx")
    loaded = tvm_cuda.load(artifact, target, FEED)
    assert isinstance(loaded, SelfTimed)
    assert all(0 < sample < 1 for sample in loaded.sample_s(3, 2))
    assert sum(kernel.seconds for kernel in tvm_cuda.kernels(artifact, target, FEED)) < 1
    with pytest.raises(DeviceError, match="the GPU here is"):
        tvm_cuda.load(artifact, replace(target, cuda_arch="sm_11"), FEED)
    two = {"b": np.zeros((1, 2), np.float32), "a": np.array([[1, 2]], np.float32)}
    outputs = tvm_cuda.load(two_input_network(tmp_path / "two.onnx"), target, two).outputs(two)
    np.testing.assert_allclose(outputs[0], [[8, 9]], rtol=1e-5)
