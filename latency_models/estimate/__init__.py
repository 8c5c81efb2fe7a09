"""Latency on a core that is not here, from the instructions a network executes and LLVM's model of the core.

Satisfies `latency_models.backend.Estimator`. The network's kernels are compiled for the core as they would be to run on
it, executed under QEMU's user mode with a plugin that counts how often each block of instructions runs and which cache
lines it touches; llvm-mca says how many cycles a block takes; what each kernel must fetch from further caches follows
from their sizes and from what the network touched before. Nothing is timed: emulated time says nothing about latency.
"""

from importlib import metadata

from latency_models import tvm_backend
from latency_models.artifact import Artifact
from latency_models.backend import Feed, Missing
from latency_models.errors import LatencyError
from latency_models.estimate.tools import find_tools, llvm_version, missing_tools
from latency_models.kernel import KernelTime
from latency_models.target import Processor, Target

METHOD = "3"
"""Raised whenever an estimate of the same network changes, so that cached ones are not mixed with new ones."""


def missing(target: Target) -> list[Missing]:
    """What this machine lacks for an estimate; nothing heavy is imported."""
    processor = target.processor
    lacking = missing_tools(processor.triple) if processor is not None and processor.triple else []
    return [*tvm_backend.missing(target), *lacking]


def environment(target: Target) -> dict[str, str]:
    """What an estimate depends on beside the target: the method, the compiler, and the machine model.

    Raises:
        LatencyError: the core is refused, or a program is not installed.
    """
    processor = check(target)
    return {
        "estimate": METHOD,
        "machine_model": f"{processor.machine_model} of LLVM {llvm_version(find_tools(processor.triple).llvm_mca)}",
        "clock_hz": f"{processor.clock_hz:.0f}",
        "tvm": metadata.version("apache-tvm"),
        "n_threads": str(target.n_threads),
    }


def check(target: Target) -> Processor:
    """The target's processor, if an estimate for it can be believed.

    Raises:
        LatencyError: a core whose machine model is known to be wrong, or a profile that says too little.
    """
    processor = target.processor
    if processor is None or not processor.triple or not processor.clock_hz:
        raise LatencyError(
            f"The profile of {target.name} does not name the core's triple and clock.",
            "Set `triple`, `cpu`, `clock_hz`, `machine_model` and the caches in it.",
        )
    if not processor.machine_model:
        raise LatencyError(
            f"LLVM's model of the core {processor.cpu} is known to be wrong, so its latency cannot be estimated.",
            "Measure on a board instead (target `tvm-rpc:...`).",
        )
    if len(processor.cache_bytes_per_cycle) != len(processor.cache_bytes) + 1 or not processor.cache_bytes:
        raise LatencyError(
            f"The profile of {target.name} gives {len(processor.cache_bytes)} caches and "
            f"{len(processor.cache_bytes_per_cycle)} rates.",
            "Give at least one in `cache_bytes`, and in `cache_bytes_per_cycle` one for each and one for the memory.",
        )
    if target.n_threads != 1:
        raise LatencyError(
            f"An estimate holds for one thread, {target.name} is asked for {target.n_threads}.",
            "Set `n_threads: 1`, or measure on a board.",
        )
    return processor


def estimate(artifact: Artifact, target: Target, feed: Feed) -> list[KernelTime]:
    """The estimated time of each kernel of one inference, in order; their sum is the network's.

    Args:
        artifact: the ONNX file.
        target: the core; one thread.
        feed: one value for each input; only the shapes matter.

    Raises:
        LatencyError: a core that is refused (`check`), a program that is not installed or fails, or a network that
            TVM cannot compile.
    """
    tools = find_tools(check(target).triple)
    # Importing TVM takes two seconds, which `missing` and `environment` need not pay.
    from latency_models.estimate.network_time import kernel_times

    return kernel_times(artifact, target, {name: array.shape for name, array in feed.items()}, tools)
