"""An artifact compiled by TVM and bound to one feed on this machine."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from latency_models import onnxruntime_backend
from latency_models.artifact import Artifact
from latency_models.backend import Feed
from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from latency_models.onnxruntime_backend import OrtRunner
from latency_models.target import Target
from latency_models.tvm_backend.build import Compiled, compile_network
from latency_models.tvm_backend.importer import ENTRY
from latency_models.tvm_backend.threads import use_threads
from latency_models.tvm_backend.tuned_store import Stored

TOLERANCES = {"float32": 1e-3, "float16": 2e-2}
"""Largest difference from ONNX Runtime's outputs, as a share of the largest output."""
BOUND = "bound"
N_KERNEL_SAMPLES = 5
KERNEL_SAMPLE_MS = 2

Outputs = list[NDArray[np.generic]]


@final
@dataclass(frozen=True)
class TvmRunner:
    """A compiled artifact bound to one feed; `run` satisfies `latency_models.timing.Runner`.

    Attributes:
        run: one inference of the feed given to `load`. It is TVM's own closure, so that no Python is left around it but
            the call; the outputs stay on TVM's side.
        compiled: what runs.
        artifact, target: what it was made from, for feeds of other shapes.
        reference: the same artifact in ONNX Runtime, which says what a feed should look like and come to.
        machine: runs the compiled code; owns the bound feed.
    """

    run: Any
    compiled: Compiled
    artifact: Artifact
    target: Target
    reference: OrtRunner
    machine: relax.VirtualMachine

    def outputs(self, feed: Feed) -> Outputs:
        """The network's outputs for another feed, in the graph's order; another batch is compiled first.

        Raises:
            LatencyError: the feed does not fit, or an output is NaN, infinite or not the artifact's.
        """
        wanted = self.reference.outputs(feed)
        machine, compiled = self.machine, self.compiled
        if _shapes(feed) != {one.name: one.shape for one in compiled.lowered.graph.inputs}:
            compiled = compile_network(self.artifact, self.target, _shapes(feed))
            machine = relax.VirtualMachine(compiled.module, tvm.cpu())
        found = _run(machine, compiled, feed)
        check_outputs(found, wanted, self.artifact)
        return found


def load(artifact: Artifact, target: Target, feed: Feed, tuned: Stored | None = None) -> TvmRunner:
    """Compiles, checks and binds; see `latency_models.tvm_backend.load`, and `lower` for `tuned`."""
    reference = onnxruntime_backend.load(artifact, Target(), feed)
    wanted = reference.outputs(feed)
    compiled = compile_network(artifact, target, _shapes(feed), tuned)
    use_threads(target.n_threads, cores())
    machine = relax.VirtualMachine(compiled.module, tvm.cpu())
    check_outputs(_run(machine, compiled, feed), wanted, artifact)
    machine.save_function(ENTRY, BOUND, *_arguments(compiled, feed), include_return=False)
    return TvmRunner(machine.module[BOUND], compiled, artifact, target, reference, machine)


def check_outputs(found: Sequence[NDArray[Any]], wanted: Sequence[NDArray[Any]], artifact: Artifact) -> None:
    """Compares what was computed with what ONNX Runtime computes.

    Args:
        found, wanted: outputs in the graph's order.
        artifact: its precision says how close they must be.

    Raises:
        LatencyError: shapes differ, an output is not finite, or too far off.
    """
    limit = TOLERANCES.get(artifact.precision, TOLERANCES["float32"])
    for index, (one, other) in enumerate(zip(found, wanted, strict=True)):
        if one.shape != other.shape:
            raise _differs(artifact, f"output {index} has shape {one.shape}, ONNX Runtime's {other.shape}")
        got, right = one.astype(np.float64), other.astype(np.float64)
        if not np.isfinite(got).all():
            raise _differs(artifact, f"output {index} holds NaN or infinite values, ONNX Runtime's does not")
        difference = float(np.abs(got - right).max() / (np.abs(right).max() + 1e-12)) if right.size else 0.0
        if difference > limit:
            raise _differs(artifact, f"output {index} is off by {difference:.2g} of the largest value")


def kernel_times(compiled: Compiled) -> list[KernelTime]:
    """The median time of each kernel by itself, its data warm in the caches, in order of execution."""
    use_threads(compiled.lowered.n_threads, cores())
    seconds = {kernel.name: _kernel_s(compiled, kernel.name) for kernel in compiled.lowered.kernels}
    return compiled.lowered.times([seconds[name] for name in compiled.lowered.calls])


def _kernel_s(compiled: Compiled, name: str) -> float:
    kernel = next(kernel for kernel in compiled.lowered.kernels if kernel.name == name)
    code, generator = compiled.codes[name], np.random.default_rng(0)
    arrays = [_values(one.shape, one.dtype, generator) for one in kernel.arguments]
    timed = code.module.time_evaluator(
        code.symbol, tvm.cpu(), number=1, repeat=N_KERNEL_SAMPLES, min_repeat_ms=KERNEL_SAMPLE_MS
    )
    return float(timed(*(tvm.runtime.tensor(array) for array in arrays)).median)


def _values(shape: tuple[int, ...], dtype: str, generator: np.random.Generator) -> NDArray[np.generic]:
    """Ordinary numbers: zeros could be faster, and denormal numbers slower, than the network's own."""
    if dtype.startswith("float"):
        return generator.uniform(0.1, 1.0, shape).astype(dtype)
    return np.zeros(shape, dtype)


def _run(machine: relax.VirtualMachine, compiled: Compiled, feed: Feed) -> Outputs:
    result = machine[ENTRY](*_arguments(compiled, feed))
    tensors = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
    return [tensor.numpy() for tensor in tensors]


def _arguments(compiled: Compiled, feed: Feed) -> list[Any]:
    return [tvm.runtime.tensor(np.ascontiguousarray(feed[one.name])) for one in compiled.lowered.graph.inputs]


def _shapes(feed: Feed) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in feed.items()}


def cores() -> list[int]:
    """Numbers of the cores that this process may run on."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _differs(artifact: Artifact, how: str) -> LatencyError:
    return LatencyError(
        f"TVM computes {artifact.path.name} wrongly: {how}.",
        "Time the network with ONNX Runtime (target `cpu`), and report the network.",
    )
