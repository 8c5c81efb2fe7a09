"""An NVIDIA GPU behind TVM's RPC server (a Jetson): compiled here, uploaded, timed by the GPU's own events.

What is uploaded holds the kernels as CUDA C; the server's TVM compiles them when it loads the library, so the device
needs NVRTC or nvcc beside TVM with CUDA. This has not been run on a device yet: compiling and linking are tested.
"""

import itertools
from pathlib import Path

from latency_models import remote
from latency_models.agreement import check_agreement, reference_outputs
from latency_models.artifact import Artifact
from latency_models.backend import Feed, Missing
from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from latency_models.precisions import check_precision
from latency_models.remote import RemoteNetwork, board_of
from latency_models.remote import release as release  # a backend hands its board back
from latency_models.target import Target

_NUMBERS = itertools.count()


def missing(target: Target) -> list[Missing]:
    """What this machine lacks for compiling for the device; the device itself is not asked."""
    return remote.missing(target)


def environment(target: Target) -> dict[str, str]:
    """What else a latency on the device depends on; asks the device.

    Raises:
        DeviceError: it is out of reach.
        LatencyError: it is emulated.
    """
    facts = board_of(target).lease().facts.environment()
    return {**facts, "n_threads": str(target.n_threads), "cuda_arch": target.cuda_arch, "clock": "CUDA events"}


def load(artifact: Artifact, target: Target, feed: Feed) -> RemoteNetwork:
    """Compiles an artifact for the GPU, runs it there, and compares its outputs with ONNX Runtime's here.

    Raises:
        DeviceError: the device is out of reach or fails.
        LatencyError: as for `Backend.load`.
    """
    check_precision(target, artifact)
    wanted, board = reference_outputs(artifact, feed), board_of(target)
    path = board.folder / f"{artifact.digest[:12]}-{next(_NUMBERS)}.so"
    inputs = export(artifact, target, feed, path)
    network = RemoteNetwork(board, path, {name: feed[name] for name in inputs})
    check_agreement(wanted, network.outputs(network.feed), artifact.precision, target.label)
    return network


def export(artifact: Artifact, target: Target, feed: Feed, path: Path) -> tuple[str, ...]:
    """Writes one library for the device: code for its host, kernels as CUDA C, weights.

    Returns:
        the inputs' names, in the order of the network's parameters.

    Raises:
        LatencyError: TVM cannot compile the network, or the host's compiler cannot link it.
    """
    from tvm.support import cc

    from latency_models.tvm_cuda_build import build

    assert target.remote is not None
    built, compiler = build(artifact, target, feed, target.cuda_arch), target.remote.compiler
    try:
        built.executable.export_library(str(path), fcompile=cc.cross_compiler(compiler))
    except (OSError, RuntimeError, ValueError) as error:
        raise LatencyError(
            f"{compiler} cannot link the network for {target.name}: {str(error).strip().splitlines()[-1]}.",
            f"Install {compiler}, or name another compiler in the target's profile.",
        ) from error
    return built.inputs


def kernels(artifact: Artifact, target: Target, feed: Feed) -> list[KernelTime]:
    """Refuses: TVM shows an inference's kernels to a program on the device only.

    Raises:
        LatencyError: always.
    """
    raise LatencyError(
        f"The kernels of {target.name} cannot be timed one by one over RPC.",
        "Run `nas explain --target tvm-cuda` on the device itself.",
    )
