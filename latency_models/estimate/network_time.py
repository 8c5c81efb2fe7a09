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
from latency_models.tvm_backend.lowering import Lowered, lower

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
    return lowered.times([call_cycles / lowered.processor.clock_hz for call_cycles in cycles])


def network_cycles(lowered: Lowered, works: Mapping[str, Work], processor: Processor) -> list[float]:
    """Cycles of each kernel call, in order."""
    calls = memory_of(lowered, {name: work.n_lines for name, work in works.items()})
    shares = shares_beyond(calls, processor.cache_bytes)
    return [
        cycles_of(works[name], share, processor.cache_bytes_per_cycle) + CALL_CYCLES
        for name, share in zip(lowered.calls, shares, strict=True)
    ]
