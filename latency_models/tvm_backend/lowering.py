"""From an artifact to scheduled kernels and the function that calls them; no machine code yet."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tvm_ffi
from tvm import ir, relax, tirx

from latency_models.artifact import Artifact
from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from latency_models.target import Processor, Target
from latency_models.tvm_backend.compiler import processor_of
from latency_models.tvm_backend.emitter import Work
from latency_models.tvm_backend.graph import Graph, Shapes, graph_of
from latency_models.tvm_backend.importer import ENTRY, imported
from latency_models.tvm_backend.schedule import schedule
from latency_models.tvm_backend.traces import tuned_schedule
from latency_models.tvm_backend.tuned_store import Stored, known

HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_SCHEDULED: dict[tuple[tvm_ffi.StructuralKey, Processor, int], tirx.PrimFunc] = {}
"""Kernels scheduled so far in this process."""


@dataclass(frozen=True)
class Argument:
    """A parameter of a kernel: its shape in memory and numpy type."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def n_bytes(self) -> int:
        """Its size."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Kernel:
    """A group of fused operators that runs as one function; quantities as in `latency_models.kernel.KernelTime`.

    Attributes:
        name: unique within the network; the function's symbol.
        func: scheduled; its last parameter is the output.
        key: equal for kernels of the same code.
        n_calls: of one inference.
        tuned: digest of the stored schedule that it has instead of the fixed rule's, or empty.
    """

    name: str
    func: tirx.PrimFunc
    key: tvm_ffi.StructuralKey
    n_calls: int
    operator: str
    n_flops: int = 0
    n_bytes: int = 0
    n_in: int = 0
    n_out: int = 0
    groups: int = 1
    shape: tuple[int, ...] = ()
    precision: str = "float32"
    tuned: str = ""

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """What it is called with; the output is last."""
        return arguments_of(self.func)


@dataclass(frozen=True)
class Lowered:
    """A network whose kernels are scheduled.

    Attributes:
        graph: what was compiled.
        kernels: in order of first execution.
        calls: names of kernels, once for each execution, in order.
        main: the function `main` that calls them, in a module with the kernels as they were before scheduling.
        processor, n_threads: what it is scheduled for.
    """

    graph: Graph
    kernels: tuple[Kernel, ...]
    calls: tuple[str, ...]
    main: ir.IRModule
    processor: Processor
    n_threads: int

    def times(self, seconds: Sequence[float]) -> list[KernelTime]:
        """What each call took, in the order of `calls`; a kernel's second call is told from its first by its name."""
        kernels = {kernel.name: kernel for kernel in self.kernels}
        seen: Counter[str] = Counter()
        found = []
        for name, call_s in zip(self.calls, seconds, strict=True):
            seen[name] += 1
            kernel = kernels[name]
            found.append(
                KernelTime(
                    name=name if seen[name] == 1 else f"{name}_call{seen[name]}",
                    operator=kernel.operator,
                    seconds=call_s,
                    n_flops=kernel.n_flops,
                    n_bytes=kernel.n_bytes,
                    n_in=kernel.n_in,
                    n_out=kernel.n_out,
                    groups=kernel.groups,
                    shape=kernel.shape,
                    precision=kernel.precision,
                )
            )
        return found


def lower(artifact: Artifact, target: Target, shapes: Shapes, tuned: Stored | None = None) -> Lowered:
    """Reads, imports, fuses and schedules a network.

    Args:
        artifact: the ONNX file.
        target: its processor and threads.
        shapes: of every input, batch included.
        tuned: schedules that go before the fixed rule's; by default those stored on this machine.

    Raises:
        LatencyError: as `graph_of`, `imported` and `scheduled` say, or a precision that the processor lacks.
    """
    graph, processor = graph_of(artifact, shapes), processor_of(target)
    if (artifact.precision == "float16" or graph.float16) and not processor.float16:
        raise LatencyError(
            f"{artifact.path.name} is float16, in which the processor of target {target.name} does not compute.",
            "Time its float32 version, or choose a target whose processor has `float16: true`.",
        )
    tuned = known(processor, target.n_threads) if tuned is None else tuned
    module = imported(graph, processor)
    fused, members = _fused(module.module)
    calls = tuple(_calls(fused[ENTRY]))
    parts = {name: [module.work[member] for member in members.get(name, [name])] for name in dict.fromkeys(calls)}
    kernels = tuple(
        _kernel(name, fused[name], parts[name], calls.count(name), processor, target.n_threads, tuned) for name in parts
    )
    needed = {ENTRY, *calls}
    main = ir.IRModule(
        {variable: fused[variable] for variable in fused.get_global_vars() if variable.name_hint in needed}
    )
    return Lowered(graph, kernels, calls, main, processor, target.n_threads)


def _fused(module: ir.IRModule) -> tuple[ir.IRModule, dict[str, list[str]]]:
    """The module with neighbouring operators in one function, and the operators that went into each."""
    grouped = relax.transform.FuseOps()(relax.transform.AnnotateTIROpPattern()(module))
    members = {
        variable.name_hint: list(_calls(function))
        for variable, function in grouped.functions_items()
        if isinstance(function, relax.Function) and variable.name_hint != ENTRY
    }
    return relax.transform.FuseTIR()(grouped), members


def _calls(function: relax.Function) -> Sequence[str]:
    """Names of the functions that a Relax function calls, in order."""
    names = []
    for block in function.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if not isinstance(value, relax.Call):
                continue
            if isinstance(value.op, ir.GlobalVar):
                names.append(value.op.name_hint)
            elif value.op.same_as(CALL_TIR):
                names.append(value.args[0].name_hint)
    return names


CALL_TIR = ir.Op.get("relax.call_tir")


def _kernel(
    name: str,
    func: tirx.PrimFunc,
    parts: Sequence[Work],
    n_calls: int,
    processor: Processor,
    n_threads: int,
    tuned: Stored,
) -> Kernel:
    main = max(parts, key=lambda part: (part.operator in HEAVY, part.n_flops))
    arguments = arguments_of(func)
    found = tuned_schedule(name, func, tuned)
    return Kernel(
        name=name,
        func=found.func if found else scheduled(name, func, processor, n_threads),
        key=tvm_ffi.StructuralKey(func),
        n_calls=n_calls,
        operator=main.operator,
        n_flops=sum(part.n_flops for part in parts),
        n_bytes=sum(argument.n_bytes for argument in arguments),
        n_in=main.n_in,
        n_out=main.n_out,
        groups=main.groups,
        shape=arguments[-1].shape,
        precision=arguments[-1].dtype,
        tuned=found.digest if found else "",
    )


def arguments_of(func: tirx.PrimFunc) -> tuple[Argument, ...]:
    """Shapes and types of a function's parameters."""
    return tuple(
        Argument(tuple(int(size) for size in parameter.ty.shape), str(parameter.ty.dtype)) for parameter in func.params
    )


def scheduled(name: str, func: tirx.PrimFunc, processor: Processor, n_threads: int) -> tirx.PrimFunc:
    """A kernel with its loops in order.

    Raises:
        LatencyError: no rule fits it; it would run some 50 times slower than it could.
    """
    key = (tvm_ffi.StructuralKey(func), processor, n_threads)
    if key not in _SCHEDULED:
        result = schedule(func, processor, n_threads)
        if not (result.attrs and result.attrs.get("tirx.is_scheduled", False)):
            raise LatencyError(
                f"TVM has no schedule for the kernel {name}, which would be far slower than need be.",
                "Time the network with ONNX Runtime (target `cpu`), and report the kernel.",
            )
        _SCHEDULED[key] = result
    return _SCHEDULED[key]


def clear_scheduled() -> None:
    """Forgets the kernels scheduled so far, as a new process would."""
    _SCHEDULED.clear()
