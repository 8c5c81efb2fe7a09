"""Which kernel of a network each timed kernel is."""

from collections import defaultdict, deque
from collections.abc import Sequence

from latency_models.kernel import KernelTime
from latency_models.predict.fusion import COMPUTE
from latency_models.predict.kernels import Kernel, Network

Key = tuple[str, int, int, int, int]


def matched(network: Network, times: Sequence[KernelTime]) -> tuple[tuple[Kernel, float], ...]:
    """A network's kernels with their seconds, in order of execution.

    What a runtime puts in beside them (layout conversions, say) counts to the kernel that ran before it, or at the
    beginning to the first one, so that the sum stays what it was.

    Args:
        network: from the file.
        times: of the same file, from `LatencyModel.kernels`.

    Returns:
        Kernels that were found; none where none was.
    """
    waiting: dict[Key, deque[Kernel]] = defaultdict(deque)
    for kernel in network.kernels:
        waiting[_key(kernel.operator, kernel.n_in, kernel.n_out, kernel.groups, 2 * kernel.n_macs)].append(kernel)
    found: list[tuple[Kernel, float]] = []
    before_s = 0.0
    for time in times:
        same = waiting[_key(time.operator, time.n_in, time.n_out, time.groups, time.n_flops)]
        if same:
            found.append((same.popleft(), time.seconds + before_s))
            before_s = 0.0
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + time.seconds)
        else:
            before_s += time.seconds
    return tuple(found)


def _key(operator: str, n_in: int, n_out: int, groups: int, n_flops: int) -> Key:
    """By channels and operations; of what computes nothing only the output's channels are known to all runtimes."""
    return (operator, n_in, n_out, groups, n_flops) if operator in COMPUTE else (operator, 0, n_out, 1, 0)
