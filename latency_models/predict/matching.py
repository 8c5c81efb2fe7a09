"""Which kernel of a network each timed kernel is."""

from collections import defaultdict
from collections.abc import Sequence

from latency_models.kernel import KernelTime
from latency_models.predict.fusion import COMPUTE
from latency_models.predict.kernels import Kernel, Network

Key = tuple[str, int, int, int]

FUSED_FLOPS = 8
"""Operations for each output that a runtime may count to a kernel for what it has fused behind."""


def matched(network: Network, times: Sequence[KernelTime]) -> tuple[tuple[Kernel, float], ...]:
    """A network's kernels with their seconds, in order of execution.

    What a runtime puts in beside them (layout conversions, say) counts to the kernel that runs after it, which is as a
    rule what it is there for, or at the end to the last one, so that the sum stays what it was.

    Args:
        network: from the file.
        times: of the same file, from `LatencyModel.kernels`.

    Returns:
        Kernels that were found; none where none was.
    """
    waiting: dict[Key, list[Kernel]] = defaultdict(list)
    for kernel in network.kernels:
        waiting[_key(kernel.operator, kernel.n_in, kernel.n_out, kernel.groups)].append(kernel)
    found: list[tuple[Kernel, float]] = []
    before_s = 0.0
    for time in times:
        same = waiting[_key(time.operator, time.n_in, time.n_out, time.groups)]
        nearest = _nearest(same, time)
        if nearest is None:
            before_s += time.seconds
            continue
        same.remove(nearest)
        found.append((nearest, time.seconds + before_s))
        before_s = 0.0
    if found:
        found[-1] = (found[-1][0], found[-1][1] + before_s)
    return tuple(found)


def _nearest(kernels: Sequence[Kernel], time: KernelTime) -> Kernel | None:
    """The first kernel with about as many operations as were timed; None where there is none."""
    if time.operator not in COMPUTE:
        return kernels[0] if kernels else None
    fitting = [one for one in kernels if 0 <= time.n_flops - 2 * one.n_macs <= FUSED_FLOPS * one.out_elements]
    return min(fitting, key=lambda one: time.n_flops - 2 * one.n_macs, default=None)


def _key(operator: str, n_in: int, n_out: int, groups: int) -> Key:
    """By channels; of what computes nothing only the output's channels are known to all runtimes."""
    return (operator, n_in, n_out, groups) if operator in COMPUTE else (operator, 0, n_out, 1)
