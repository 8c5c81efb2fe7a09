"""From the work of kernels to the time of each call within one inference."""

from collections.abc import Mapping

from latency_models.artifact import Artifact
from latency_models.estimate.executed import works_of
from latency_models.estimate.network import memory_of
from latency_models.estimate.residency import shares_beyond
from latency_models.estimate.tools import Tools
from latency_models.estimate.work import Work, cycles_of
from latency_models.kernel import KernelTime
from latency_models.target import Processor, Target
from latency_models.tvm_backend.lowering import Kernel, Lowered, lower

CALL_CYCLES = 1500.0
"""Cycles that TVM's virtual machine takes around each kernel, as `benchmarks/estimate_error.py` finds them on x86 from
chains of tiny kernels (1430 to 1530). A narrower core will take more, but its kernels do too: on a Cortex-A72 they are
0.3 % of a ResNet-20."""


def kernel_times(
    artifact: Artifact, target: Target, shapes: Mapping[str, tuple[int, ...]], tools: Tools
) -> list[KernelTime]:
    """The estimated time of each kernel call of one inference; errors as for `latency_models.estimate.estimate`."""
    lowered = lower(artifact, target, shapes)
    works = works_of(lowered, tools)
    cycles = network_cycles(lowered, works, lowered.processor)
    kernels = {kernel.name: kernel for kernel in lowered.kernels}
    seen: dict[str, int] = {}
    times = []
    for name, call_cycles in zip(lowered.calls, cycles, strict=True):
        seen[name] = seen.get(name, 0) + 1
        kernel = kernels[name]
        shown = name if seen[name] == 1 else f"{name}_call{seen[name]}"
        times.append(_kernel_time(shown, kernel, call_cycles / lowered.processor.clock_hz))
    return times


def network_cycles(lowered: Lowered, works: Mapping[str, Work], processor: Processor) -> list[float]:
    """Cycles of each kernel call, in order."""
    calls = memory_of(lowered, {name: work.n_lines for name, work in works.items()})
    shares = shares_beyond(calls, processor.cache_bytes)
    return [
        cycles_of(works[name], share, processor.cache_bytes_per_cycle) + CALL_CYCLES
        for name, share in zip(lowered.calls, shares, strict=True)
    ]


def _kernel_time(name: str, kernel: Kernel, seconds: float) -> KernelTime:
    """`Kernel` counts one call, as `KernelTime` does."""
    return KernelTime(
        name=name,
        operator=kernel.operator,
        seconds=seconds,
        n_flops=kernel.n_flops,
        n_bytes=kernel.n_bytes,
        n_in=kernel.n_in,
        n_out=kernel.n_out,
        groups=kernel.groups,
        shape=kernel.shape,
        precision=kernel.precision,
    )
