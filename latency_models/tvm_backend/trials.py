"""What tuning computes in a process of its own: a schedule's time, and two schedules beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import ir, tirx

from latency_models.artifact import Artifact
from latency_models.backend import Feed
from latency_models.errors import LatencyError
from latency_models.latency import Visit
from latency_models.target import Processor, Target
from latency_models.timing import Plan, visit
from latency_models.tvm_backend import runner
from latency_models.tvm_backend.codegen import machine_code_of
from latency_models.tvm_backend.compiler import compiler_target
from latency_models.tvm_backend.lowering import arguments_of
from latency_models.tvm_backend.threads import use_threads
from latency_models.tvm_backend.traces import ERRORS
from latency_models.tvm_backend.tuned_store import NOTHING, Stored

SYMBOL = "kernel"
N_REPEATS = 3
REPEAT_MS = 2
KERNEL_PLAN = Plan(n_pairs=48, n_block=4, max_s=0.5, min_sample_s=200e-6)
NETWORK_PLAN = Plan(n_pairs=48, max_s=0.5)

Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class Comparison:
    """Two schedules of one kernel.

    Attributes:
        difference: largest between their outputs, as a share of the largest output; infinite where one is not finite.
        visits: of the second, with the first as the anchor.
    """

    difference: float
    visits: tuple[Visit, ...]


@final
@dataclass(frozen=True)
class Ready:
    """A kernel in machine code, bound to arrays; satisfies `Runner` and `SelfTimed`, as a call from Python takes as
    long as a small kernel."""

    module: Any
    tensors: tuple[Any, ...]

    def run(self) -> None:
        """Once."""
        self.module[SYMBOL](*self.tensors)

    def sample_s(self, n_samples: int, n_inferences: int) -> Sequence[float]:
        """By TVM's own timer."""
        timed = self.module.time_evaluator(SYMBOL, tvm.cpu(), number=n_inferences, repeat=n_samples)
        return [float(seconds) for seconds in timed(*self.tensors).results]


def seconds_of(func: str, processor: Processor, n_threads: int) -> float:
    """The shortest of a few times of a scheduled kernel: interference only ever adds.

    Args:
        func: as JSON.

    Raises:
        LatencyError: it cannot be compiled.
    """
    return min(_times(_ready(func, processor, n_threads), N_REPEATS))


def ratio_of(func: str, fixed: str, processor: Processor, n_threads: int, n_rounds: int) -> float:
    """A schedule's time as a share of the fixed rule's, each the shortest of some, in turn.

    Beside each other, since how fast the machine is changes by more than schedules differ, within seconds.

    Args:
        func, fixed: as JSON.
        n_rounds: of both.

    Raises:
        LatencyError: one of them cannot be compiled.
    """
    before, after = _fixed(fixed, processor, n_threads), _ready(func, processor, n_threads)
    first, second = list[float](), list[float]()
    for _ in range(n_rounds):
        first += _times(before, 1)
        second += _times(after, 1)
    return min(second) / min(first)


def compare(before: str, after: str, processor: Processor, n_threads: int, n_visits: int) -> Comparison:
    """Two schedules of a kernel, as JSON: whether they compute the same, and then which is faster.

    Raises:
        LatencyError: one of them cannot be compiled.
    """
    difference = max(_difference(before, after, processor, n_threads, positive) for positive in (True, False))
    first, second = (_ready(func, processor, n_threads) for func in (before, after))
    visits = [visit({"after": second}, first, KERNEL_PLAN)["after"] for _ in range(n_visits)]
    return Comparison(difference, tuple(visits))


def compare_networks(artifact: Artifact, target: Target, feed: Feed, tuned: Stored, n_visits: int) -> tuple[Visit, ...]:
    """Visits of a network with tuned kernels, beside itself by the fixed rule alone.

    Raises:
        LatencyError: as for `runner.load`.
    """
    before, after = (runner.load(artifact, target, feed, kernels) for kernels in (NOTHING, tuned))
    return tuple(visit({"after": after}, before, NETWORK_PLAN)["after"] for _ in range(n_visits))


def _difference(before: str, after: str, processor: Processor, n_threads: int, positive: bool) -> float:
    arrays = _arrays(before, positive)
    wanted, found = (_output(func, processor, n_threads, arrays) for func in (before, after))
    if not positive and not np.isfinite(wanted).all():
        return 0.0  # a kernel of positive numbers only (a root, a logarithm)
    if not np.isfinite(found).all() or not wanted.size:
        return float("inf") if wanted.size else 0.0
    return float(np.abs(found - wanted).max() / (np.abs(wanted).max() + 1e-30))


def _output(func: str, processor: Processor, n_threads: int, arrays: Arrays) -> NDArray[np.float64]:
    ready = _ready(func, processor, n_threads, arrays)
    ready.run()
    found: NDArray[np.float64] = ready.tensors[-1].numpy().astype(np.float64)
    return found


def _times(ready: Ready, n: int) -> list[float]:
    timed = ready.module.time_evaluator(SYMBOL, tvm.cpu(), number=1, repeat=n, min_repeat_ms=REPEAT_MS)
    return [float(seconds) for seconds in timed(*ready.tensors).results]


@lru_cache(maxsize=1)
def _fixed(func: str, processor: Processor, n_threads: int) -> Ready:
    """The fixed rule's kernel, compiled once for all trials of the kernel."""
    return _ready(func, processor, n_threads)


def _ready(func: str, processor: Processor, n_threads: int, arrays: Arrays | None = None) -> Ready:
    use_threads(n_threads, runner.cores())
    try:
        named = _function(func).with_attr("global_symbol", SYMBOL)
        module = machine_code_of(ir.IRModule({SYMBOL: named}), compiler_target(processor))
    except ERRORS as error:
        raise LatencyError(f"The schedule cannot be compiled ({error}).", "It is left out.") from error
    bound = _arrays(func, positive=True) if arrays is None else arrays
    return Ready(module, tuple(tvm.runtime.tensor(array) for array in bound))


def _function(func: str) -> tirx.PrimFunc:
    return ir.load_json(func)


def _arrays(func: str, positive: bool) -> Arrays:
    """Ordinary numbers for every parameter, the output included; NaN there, so that what is not written shows."""
    generator = np.random.default_rng(0)
    arrays = Arrays()
    for one in arguments_of(_function(func)):
        if one.dtype.startswith("float"):
            values = generator.uniform(0.1, 1.0, one.shape) if positive else generator.standard_normal(one.shape)
            arrays.append(values.astype(one.dtype))
        else:
            arrays.append(np.zeros(one.shape, one.dtype))
    if arrays[-1].dtype.kind == "f":
        arrays[-1][...] = np.nan
    return arrays
