"""TVM on an NVIDIA GPU in this machine. Importing TVM takes seconds, so only what loads an artifact does it."""

import importlib.util
import os
import shutil
from pathlib import Path

from latency_models import onnxruntime_backend, tvm_backend
from latency_models.agreement import check_agreement, reference_outputs
from latency_models.artifact import Artifact
from latency_models.backend import Feed, Loaded, Missing
from latency_models.cuda_library import loads, missing_driver
from latency_models.errors import DeviceError
from latency_models.kernel import KernelTime
from latency_models.precisions import check_precision
from latency_models.target import Target

CUDA_RUNTIME = "libcudart.so.13"
"""What the pinned apache-tvm is linked with."""
TVM_CUDA = "libtvm_runtime_cuda.so"
NVCC = Path("/usr/local/cuda/bin/nvcc")


def missing(target: Target) -> list[Missing]:
    """TVM with its CUDA runtime, NVIDIA's driver and CUDA runtime, and a compiler of CUDA C."""
    return tvm_backend.missing(target) + missing_driver() + _missing_runtime() + _missing_compiler()


def _missing_compiler() -> list[Missing]:
    """A compiler of CUDA C; TVM itself only writes it."""
    if _has_nvrtc() or _nvcc() is not None:
        return []
    return [Missing("a compiler of CUDA C (NVRTC or nvcc)", "pip install 'cuda-bindings[all]'")]


def environment(target: Target) -> dict[str, str]:
    """What else a latency on the GPU depends on."""
    from latency_models.tvm_cuda_build import device_facts

    return onnxruntime_backend.environment(target) | device_facts() | {"clock": "CUDA events"}


def load(artifact: Artifact, target: Target, feed: Feed) -> Loaded:
    """Compiles an artifact for the GPU, checks it against ONNX Runtime's outputs, and puts the feed in its memory.

    Seconds are the GPU's own, by events around an inference; copying in and out is left out.

    Raises:
        DeviceError: there is no GPU, or not the one that the target names.
        LatencyError: as for `Backend.load`.
    """
    check_precision(target, artifact)
    _check_complete(target)
    from latency_models.tvm_cuda_build import build, this_arch
    from latency_models.tvm_machine import Machine

    arch = this_arch(target)
    wanted = reference_outputs(artifact, feed)
    machine = Machine.on_gpu(build(artifact, target, feed, arch), feed)
    check_agreement(wanted, machine.outputs(feed), artifact.precision, target.name)
    return machine


def kernels(artifact: Artifact, target: Target, feed: Feed) -> list[KernelTime]:
    """The time of each kernel of one inference, in order of execution, by the GPU's events.

    Raises:
        DeviceError, LatencyError: as for `load`.
    """
    check_precision(target, artifact)
    _check_complete(target)
    from latency_models.tvm_cuda_build import build, this_arch
    from latency_models.tvm_machine import Machine

    return Machine.on_gpu(build(artifact, target, feed, this_arch(target)), feed).kernels()


def _check_complete(target: Target) -> None:
    lacking = missing(target)
    if lacking:
        raise DeviceError(f"{target.name} needs {lacking[0].what}.", lacking[0].remedy)
    if not _has_nvrtc():
        os.environ.setdefault("TVM_CUDA_COMPILE_MODE", "nvcc")


def _missing_runtime() -> list[Missing]:
    found = []
    spec = importlib.util.find_spec("tvm")
    folders = [Path(folder) / "lib" for folder in (spec.submodule_search_locations or ())] if spec else []
    if folders and not any((folder / TVM_CUDA).is_file() for folder in folders):
        found.append(
            Missing(
                "a TVM that was built with CUDA",
                "Install the apache-tvm wheel for Linux, or build TVM with USE_CUDA=ON.",
            )
        )
    elif folders and not loads(CUDA_RUNTIME):
        found.append(
            Missing(
                f"CUDA 13's runtime ({CUDA_RUNTIME})",
                "pip install nvidia-cuda-runtime, and put the folder of its lib*.so on LD_LIBRARY_PATH",
            )
        )
    return found


def _has_nvrtc() -> bool:
    return importlib.util.find_spec("cuda") is not None and importlib.util.find_spec("cuda.bindings") is not None


def _nvcc() -> Path | None:
    found = shutil.which("nvcc")
    return Path(found) if found else NVCC if NVCC.is_file() else None
