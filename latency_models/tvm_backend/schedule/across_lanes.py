"""Reductions along memory order: each lane of a vector reduces its share, then the lanes are combined."""

from collections.abc import Mapping, Sequence

from tvm import tirx
from tvm.ir import Expr, Var

from latency_models.tvm_backend.schedule.expressions import Read, instantiate, integer
from latency_models.tvm_backend.schedule.loops import allocated, local, loop, nested, sequence, store, vectorized
from latency_models.tvm_backend.schedule.stages import COMBINED, Stage
from latency_models.tvm_backend.schedule.vectors import power_of_two_below

MAX_PARTS = 4


def reduction_across_lanes(
    stage: Stage,
    values: Mapping[Var, Expr],
    reads: Mapping[Var, Read],
    written: tuple[Var, Sequence[Expr]],
    n_lanes: int,
) -> tirx.Stmt:
    """One element of a reduction, its innermost axis walked in vectors.

    Args:
        stage: the reduction.
        values: of its spatial axes.
        reads: what stands for loads from intermediate buffers.
        written: buffer and place of the result.
        n_lanes: of a vector.
    """
    if stage.combine is None or stage.init is None:
        raise ValueError(f"{stage.name} reduces nothing")
    combine, init = COMBINED[stage.combine], stage.init
    *leading, inner = stage.reduction
    n_lanes = min(n_lanes, power_of_two_below(inner.extent))
    n_parts = min(MAX_PARTS, inner.extent // n_lanes)
    parts = [local("part", (n_lanes,), stage.dtype) for _ in range(n_parts)]

    def row(indices: list[Expr]) -> tirx.Stmt:
        at = {axis.variable: index for axis, index in zip(leading, indices, strict=True)}
        return _row(stage, {**values, **at}, reads, parts, n_lanes)

    def gathered(lane: Expr) -> tirx.Stmt:
        total = tirx.BufferLoad(parts[0], [lane])
        for part in parts[1:]:
            total = combine(total, tirx.BufferLoad(part, [lane]))
        return store(parts[0], [lane], total)

    widths = [1 << power for power in reversed(range(n_lanes.bit_length() - 1))]
    buffer, place = written
    return allocated(
        parts,
        vectorized(n_lanes, lambda lane: sequence(store(part, [lane], init) for part in parts)),
        nested([axis.variable.name for axis in leading], [axis.extent for axis in leading], row),
        *([vectorized(n_lanes, gathered)] if n_parts > 1 else []),
        *(_fold(parts[0], width, stage) for width in widths),
        store(buffer, place, tirx.BufferLoad(parts[0], [integer(0)])),
    )


def _row(
    stage: Stage, values: Mapping[Var, Expr], reads: Mapping[Var, Read], parts: Sequence[Var], n_lanes: int
) -> tirx.Stmt:
    """The innermost axis added into the parts in turn; what is left of it into lanes of the first one."""
    inner = stage.reduction[-1]

    def add(part: Var, start: Expr, count: int) -> tirx.Stmt:
        def lanes(lane: Expr) -> tirx.Stmt:
            term = instantiate(stage.value, {**values, inner.variable: start + lane}, reads)
            return store(part, [lane], _combined(stage, tirx.BufferLoad(part, [lane]), term))

        return vectorized(count, lanes)

    step = n_lanes * len(parts)

    def steps(i: Expr) -> tirx.Stmt:
        return sequence(add(part, i * step + n * n_lanes, n_lanes) for n, part in enumerate(parts))

    code = [loop(inner.variable.name, inner.extent // step, steps)]
    done, count = inner.extent // step * step, n_lanes
    while done < inner.extent:
        while count > inner.extent - done:
            count //= 2
        code.append(add(parts[0], integer(done), count))
        done += count
    return sequence(code)


def _combined(stage: Stage, one: Expr, other: Expr) -> Expr:
    if stage.combine is None:
        raise ValueError(f"{stage.name} reduces nothing")
    return COMBINED[stage.combine](one, other)


def _fold(part: Var, width: int, stage: Stage) -> tirx.Stmt:
    """The upper half of 2 * width lanes combined into the lower."""

    def lanes(lane: Expr) -> tirx.Stmt:
        halves = tirx.BufferLoad(part, [lane]), tirx.BufferLoad(part, [lane + width])
        return store(part, [lane], _combined(stage, *halves))

    return vectorized(width, lanes)
