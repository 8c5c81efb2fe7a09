"""Longer loops: adjacent axes that every access walks together become one."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from tvm.ir import Expr, Var

from latency_models.tvm_backend.schedule.expressions import instantiate, integer, variables, walk
from latency_models.tvm_backend.schedule.stages import Axis, Stage, shape_of


def merged(stages: Sequence[Stage]) -> list[Stage]:
    """The stages with adjacent axes merged: reduction axes in each stage, leading spatial ones alike in all of them.

    A merged pair indexes the second of its two dimensions beyond its size: the element's address is the same.
    """
    result = list(stages)
    position = 0
    while all(position + 1 < len(stage.spatial) for stage in result):
        same = all(_extents(stage)[: position + 2] == _extents(result[0])[: position + 2] for stage in result)
        if not same:
            break
        if all(_mergeable(stage, *stage.spatial[position : position + 2]) for stage in result):
            result = [_merge_spatial(stage, position) for stage in result]
        else:
            position += 1
    return [_merge_reduction(stage) for stage in result]


def _extents(stage: Stage) -> list[int]:
    return [axis.extent for axis in stage.spatial]


def _mergeable(stage: Stage, first: Axis, second: Axis) -> bool:
    """Whether both only ever index neighbouring dimensions, the second one its whole dimension."""
    n_uses = 0
    for buffer, indices in stage.accesses():
        for dimension, (one, other) in enumerate(pairwise(indices)):
            if one.same_as(first.variable) and other.same_as(second.variable):
                if shape_of(buffer)[dimension + 1] != second.extent:
                    return False
                n_uses += 1
    expressions: list[Expr] = [stage.value, *stage.indices]
    uses = [node for expression in expressions for node in walk(expression) if isinstance(node, Var)]
    return all(sum(use.same_as(axis.variable) for use in uses) == n_uses for axis in (first, second)) and n_uses > 0


def _merge_spatial(stage: Stage, position: int) -> Stage:
    first, second = stage.spatial[position : position + 2]
    merged_axis, values = _one_axis(first, second)
    return replace(
        stage,
        spatial=(*stage.spatial[:position], merged_axis, *stage.spatial[position + 2 :]),
        indices=tuple(instantiate(index, values, {}) for index in stage.indices),
        value=instantiate(stage.value, values, {}),
    )


def _merge_reduction(stage: Stage) -> Stage:
    position = 0
    while position + 1 < len(stage.reduction):
        first, second = stage.reduction[position : position + 2]
        if any({first.variable, second.variable} & variables(index) for index in stage.indices) or not _mergeable(
            stage, first, second
        ):
            position += 1
            continue
        merged_axis, values = _one_axis(first, second)
        stage = replace(
            stage,
            reduction=(*stage.reduction[:position], merged_axis, *stage.reduction[position + 2 :]),
            value=instantiate(stage.value, values, {}),
        )
    return stage


def _one_axis(first: Axis, second: Axis) -> tuple[Axis, dict[Var, Expr]]:
    variable = Var(f"{first.variable.name}_{second.variable.name}", "int64")
    return Axis(variable, first.extent * second.extent), {first.variable: integer(0), second.variable: variable}
