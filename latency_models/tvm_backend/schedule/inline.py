"""Fewer stages: those that only compute elements are computed where they are used."""

from collections.abc import Sequence
from dataclasses import replace

from tvm import tirx
from tvm.ir import Expr, Var
from tvm_ffi import structural_equal

from latency_models.tvm_backend.schedule.expressions import (
    instantiate,
    is_branch,
    is_load,
    loads,
    operator,
    walk,
)
from latency_models.tvm_backend.schedule.stages import Stage


def inlined(stages: Sequence[Stage], outputs: Sequence[Var]) -> list[Stage]:
    """The stages with every element-wise one that is cheap to repeat put into its users.

    Kept as stages are reductions, outputs, and what a reduction or several users read, unless it only moves elements.
    """
    remaining = list(stages)
    index = 0
    while index < len(remaining):
        stage = remaining[index]
        users = [other for other in remaining if any(load.source.same_as(stage.buffer) for load in loads(other.value))]
        if _can_vanish(stage, users, outputs):
            remaining = [
                _with(other, stage) if any(other is user for user in users) else other
                for other in remaining
                if other is not stage
            ]
        else:
            index += 1
    return remaining


def moves_elements(stage: Stage) -> bool:
    """Whether its value is one element of another buffer, unchanged."""
    return is_load(stage.value)


def _can_vanish(stage: Stage, users: Sequence[Stage], outputs: Sequence[Var]) -> bool:
    if stage.combine is not None or not users or any(stage.buffer.same_as(output) for output in outputs):
        return False
    axes = {axis.variable for axis in stage.spatial}
    if not all(isinstance(index, tirx.IntImm) or index in axes for index in stage.indices):
        return False
    if moves_elements(stage):
        return True
    calls = any(operator(node) and not is_branch(node) for node in walk(stage.value))
    return all(user.combine is None for user in users) and (len(users) == 1 or not calls)


def _with(user: Stage, stage: Stage) -> Stage:
    """The user with the stage's value in place of loads from it, computed once where the loads are of one element."""

    def element(indices: list[Expr]) -> Expr:
        values = {
            own: index for own, index in zip(stage.indices, indices, strict=True) if not isinstance(own, tirx.IntImm)
        }
        return instantiate(stage.value, values, {})

    own_loads = [load for load in loads(user.value) if load.source.same_as(stage.buffer)]
    repeated = len(own_loads) > 1 and not moves_elements(stage)
    if repeated and all(structural_equal(load.indices, own_loads[0].indices) for load in own_loads):
        once = Var(stage.name, stage.dtype)
        value = instantiate(user.value, {}, {stage.buffer: lambda indices: once})
        return replace(user, value=tirx.Let(once, element(list(own_loads[0].indices)), value))
    return replace(user, value=instantiate(user.value, {}, {stage.buffer: element}))
