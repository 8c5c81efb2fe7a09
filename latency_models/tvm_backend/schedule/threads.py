"""When several threads pay, and how loops are shared out."""

import math
from collections.abc import Callable, Sequence

from tvm import tirx
from tvm.ir import Expr

from latency_models.tvm_backend.schedule.expressions import integer
from latency_models.tvm_backend.schedule.loops import loop
from latency_models.tvm_backend.schedule.stages import Stage, shape_of
from latency_models.tvm_backend.schedule.vectors import DTYPE_BITS

FLOPS_PER_S_AND_LANE = 6e9
"""Of one core: what a well scheduled kernel reaches for each lane of a vector register."""
BYTES_PER_S = 2e10
"""Of one core, out of its second-level cache."""
LAUNCH_S = 16e-6
"""What sharing a kernel with TVM's thread pool must save to be worth it. A launch costs 1.5 to 3 microseconds while the
threads wait for it (7 to 9 where they sleep); on a machine whose cores have other work too it was often 5 to 10, and a
second thread must not make a network slower."""


def estimated_s(stages: Sequence[Stage], n_lanes: int) -> float:
    """Roughly how long one thread takes for a kernel: the longer of arithmetic and memory, stage by stage."""
    total = 0.0
    for stage in stages:
        buffers = {buffer: None for buffer, _ in stage.accesses()}
        n_bytes = sum(math.prod(shape_of(one)) * DTYPE_BITS.get(str(one.ty.dtype), 32) / 8 for one in buffers)
        total += max(2 * stage.n_points / (FLOPS_PER_S_AND_LANE * n_lanes), n_bytes / BYTES_PER_S)
    return total


def threads_that_pay(stages: Sequence[Stage], n_lanes: int, n_threads: int) -> int:
    """All threads where what they save of a kernel's time is more than a launch, else one."""
    saved_s = estimated_s(stages, n_lanes) * (1 - 1 / n_threads)
    return n_threads if n_threads > 1 and saved_s > LAUNCH_S else 1


def shared_loop(name: str, extent: int, n_threads: int, body: Callable[[Expr, Expr], tirx.Stmt]) -> tirx.Stmt:
    """The body for each thread's contiguous share, given as start and length; the whole for one thread."""
    n_threads = min(n_threads, extent)
    if n_threads == 1:
        return body(integer(0), integer(extent))

    def share(thread: Expr) -> tirx.Stmt:
        if extent % n_threads == 0:
            return body(thread * (extent // n_threads), integer(extent // n_threads))
        start = tirx.floordiv(thread * extent, n_threads)
        return body(start, tirx.floordiv((thread + 1) * extent, n_threads) - start)

    return loop(name, n_threads, share, tirx.ForKind.PARALLEL)
