"""Kernels by MetaSchedule's traces: steps that can be stored as JSON and taken again on the same kernel."""

import warnings
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import ir, s_tir, tirx

from latency_models.tvm_backend.tuned_store import Stored

ERRORS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)
"""What TVM raises for steps that a kernel does not allow, or that are no steps."""
_SCHEDULED: dict[tuple[tvm_ffi.StructuralKey, str], tirx.PrimFunc | None] = {}
"""Kernels scheduled by stored traces so far in this process; None where the trace does not apply."""


@dataclass(frozen=True)
class TunedSchedule:
    """A kernel scheduled by a stored trace.

    Attributes:
        func: in loops.
        digest: of the trace.
    """

    func: tirx.PrimFunc
    digest: str


def tuned_schedule(name: str, func: tirx.PrimFunc, tuned: Stored) -> TunedSchedule | None:
    """A kernel by its stored trace; None, with a warning, where that does not apply, and None where there is none."""
    stored = tuned.kernels.get(kernel_hash(func)) if tuned.kernels else None
    if stored is None:
        return None
    key = (tvm_ffi.StructuralKey(func), stored.digest)
    if key not in _SCHEDULED:
        try:
            _SCHEDULED[key] = scheduled_by(func, stored.trace)
        except ERRORS as error:
            warnings.warn(
                f"The tuned schedule of the kernel {name} does not apply to it ({_last_line(error)}); it runs by the "
                "fixed rule. Tune it again with `nas tune --fresh`.",
                stacklevel=2,
            )
            _SCHEDULED[key] = None
    result = _SCHEDULED[key]
    return None if result is None else TunedSchedule(result, stored.digest)


def kernel_hash(func: tirx.PrimFunc) -> str:
    """Of an unscheduled kernel whatever its name and its variables' names: 16 hexadecimal digits."""
    return f"{tvm_ffi.structural_hash(_nameless(func)) & (2**64 - 1):016x}"


def trace_json(schedule: s_tir.Schedule) -> list[Any]:
    """The steps of a schedule as plain lists, numbers and words."""
    found: list[Any] = _plain(schedule.trace.as_json())
    return found


def module_of(func: tirx.PrimFunc) -> ir.IRModule:
    """A copy of an unscheduled kernel as MetaSchedule takes it.

    All of it is copied: TVM's schedules change the body of a function in place even where another function shares it.
    """
    named = _nameless(func).with_attr("global_symbol", "main").with_attr("tirx.noalias", True)
    return ir.load_json(ir.save_json(ir.IRModule({"main": named})))


def scheduled_by(func: tirx.PrimFunc, trace: list[Any]) -> tirx.PrimFunc:
    """A kernel after a trace's steps, in loops as the fixed rule leaves them.

    Raises:
        ERRORS: the trace does not apply.
    """
    schedule = s_tir.Schedule(module_of(func))
    s_tir.schedule.Trace.apply_json_to_schedule(trace, schedule)
    return in_loops(schedule.mod)


def in_loops(module: ir.IRModule) -> tirx.PrimFunc:
    """The function `main` without blocks but the root, so that it takes the same way to machine code as the others."""
    for step in (
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerMatchBuffer(),
        s_tir.transform.LowerOpaqueBlock(),
    ):
        module = step(module)
    func = module["main"]
    root = s_tir.SBlock([], [], [], "root", func.body)
    return func.with_body(s_tir.SBlockRealize([], True, root)).with_attr("tirx.is_scheduled", True)


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]


def _nameless(func: tirx.PrimFunc) -> tirx.PrimFunc:
    for attribute in ("global_symbol", "op_pattern"):
        func = func.without_attr(attribute)
    return func


def _plain(value: Any) -> Any:
    if isinstance(value, tirx.IntImm | tirx.FloatImm):
        return value.value
    if value is None or isinstance(value, str | int | float):
        return str(value) if isinstance(value, str) else value
    return [_plain(one) for one in value]
