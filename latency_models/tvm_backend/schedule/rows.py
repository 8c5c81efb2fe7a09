"""Kernels of several stages: all stages of one row, then the next row, so that what they hand on stays in the cache."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tvm import tirx
from tvm.ir import Expr, Var

from latency_models.tvm_backend.schedule.across_lanes import reduction_across_lanes
from latency_models.tvm_backend.schedule.contraction import Contraction, contraction, has_vector_axis
from latency_models.tvm_backend.schedule.expressions import Read, instantiate, integer, variables
from latency_models.tvm_backend.schedule.loops import allocated, local, loop, nested
from latency_models.tvm_backend.schedule.pointwise import Nest, pointwise
from latency_models.tvm_backend.schedule.stages import Axis, Stage, shape_of
from latency_models.tvm_backend.schedule.threads import shared_loop
from latency_models.tvm_backend.schedule.vectors import Vectors


def common_rows(stages: Sequence[Stage]) -> int:
    """How many leading spatial axes all stages walk alike: every intermediate result is read only in its own row.

    A lone element-wise stage keeps its last axis for vectors.
    """
    made = [stage.buffer for stage in stages]
    most = min(len(stage.spatial) for stage in stages)
    if all(stage.combine is None for stage in stages):
        most -= 1
    extents = [[axis.extent for axis in stage.spatial] for stage in stages]
    for n_rows in range(max(most, 0), 0, -1):
        if all(extent[:n_rows] == extents[0][:n_rows] for extent in extents) and all(
            _in_own_row(stage, made, n_rows) for stage in stages
        ):
            return n_rows
    return 0


def _in_own_row(stage: Stage, made: Sequence[Var], n_rows: int) -> bool:
    rows = [axis.variable for axis in stage.spatial[:n_rows]]
    for buffer, indices in stage.accesses():
        if not any(buffer.same_as(one) for one in made):
            continue
        plain = [index for index in indices if not isinstance(index, tirx.IntImm)]
        if len(plain) < n_rows or not all(index.same_as(row) for index, row in zip(plain, rows, strict=False)):
            return False
        if any(variables(index) & set(rows) for index in plain[n_rows:]):
            return False
    return True


@dataclass(frozen=True)
class _Kept:
    """An intermediate result, or one row of it, in a buffer of its own: only some of its dimensions."""

    buffer: Var
    dimensions: tuple[int, ...]

    def place(self, indices: list[Expr]) -> list[Expr]:
        return [indices[dimension] for dimension in self.dimensions]

    def read(self, indices: list[Expr]) -> Expr:
        return tirx.BufferLoad(self.buffer, self.place(indices) or [integer(0)])


def row_by_row(
    stages: Sequence[Stage], outputs: Sequence[Var], n_rows: int, vectors: Vectors, n_threads: int
) -> tirx.Stmt:
    """Loops over the common rows, shared out among threads; in each, the stages one after the other."""
    kept = {
        stage.buffer: _kept(stage, n_rows)
        for stage in stages
        if not any(stage.buffer.same_as(output) for output in outputs)
    }
    buffers = [one.buffer for one in kept.values()]
    if n_rows == 0:
        code = [_stage_code(stage, {}, 0, kept, vectors, n_threads) for stage in stages]
        return allocated(buffers, *code)
    extents = [axis.extent for axis in stages[0].spatial[:n_rows]]

    def row(index: Expr) -> tirx.Stmt:
        at: list[Expr] = []
        for extent in reversed(extents[1:]):
            at.insert(0, tirx.floormod(index, integer(extent)))
            index = tirx.floordiv(index, integer(extent))
        at.insert(0, index)
        code = [
            _stage_code(
                stage,
                {axis.variable: one for axis, one in zip(stage.spatial, at, strict=False)},
                n_rows,
                kept,
                vectors,
                1,
            )
            for stage in stages
        ]
        return allocated(buffers, *code)

    return shared_loop(
        "rows",
        math.prod(extents),
        n_threads,
        lambda start, length: loop("row", length, lambda i: row(start + i)),
    )


def _kept(stage: Stage, n_rows: int) -> _Kept:
    rows = {axis.variable for axis in stage.spatial[:n_rows]}
    dimensions = tuple(
        dimension
        for dimension, index in enumerate(stage.indices)
        if not isinstance(index, tirx.IntImm) and index not in rows
    )
    shape = shape_of(stage.buffer)
    return _Kept(local(stage.name, [shape[dimension] for dimension in dimensions], stage.dtype), dimensions)


def _stage_code(
    stage: Stage,
    values: Mapping[Var, Expr],
    n_rows: int,
    kept: Mapping[Var, _Kept],
    vectors: Vectors,
    n_threads: int,
) -> tirx.Stmt:
    """One stage, for given rows."""
    reads: dict[Var, Read] = {buffer: one.read for buffer, one in kept.items()}
    own = kept.get(stage.buffer)
    target, place = (own.buffer, own.place) if own is not None else (stage.buffer, None)
    axes = stage.spatial[n_rows:]
    if stage.combine is None:
        nest = Nest(stage, values, reads, target, place, vectors.n_lanes)
        return _shared_pointwise(nest, axes, n_threads)
    if axes and has_vector_axis(replace(stage, spatial=axes)):
        indices = [instantiate(index, values, reads) for index in stage.indices]
        if place is not None:
            indices = place(indices)
        value = instantiate(stage.value, values, reads)
        inner = replace(stage, spatial=axes, buffer=target, indices=tuple(indices), value=value)
        return contraction(Contraction(inner), vectors, n_threads, {})

    def element(at: list[Expr]) -> tirx.Stmt:
        everywhere = {**values, **{axis.variable: index for axis, index in zip(axes, at, strict=True)}}
        indices = [instantiate(index, everywhere, reads) for index in stage.indices]
        written = place(indices) if place is not None else indices
        return reduction_across_lanes(stage, everywhere, reads, (target, written), vectors.n_lanes)

    return nested([axis.variable.name for axis in axes], [axis.extent for axis in axes], element)


def _shared_pointwise(nest: Nest, axes: Sequence[Axis], n_threads: int) -> tirx.Stmt:
    """An element-wise nest, its longest axis but the last (or the only one) shared out among threads."""
    if n_threads == 1 or not axes:
        return pointwise(nest, axes)
    if len(axes) == 1:
        return _shared_vectors(nest, axes[0], n_threads)
    best = next((axis for axis in axes[:-1] if axis.extent >= n_threads), axes[0])
    others = [axis for axis in axes if axis is not best]

    def share(start: Expr, length: Expr) -> tirx.Stmt:
        return pointwise(nest, [best, *others], {best.variable: (start, length)})

    return shared_loop("part", best.extent, n_threads, share)


def _shared_vectors(nest: Nest, axis: Axis, n_threads: int) -> tirx.Stmt:
    """The only axis in runs of whole vectors, the last one overlapping the one before."""
    run = min(nest.n_lanes * max(1, axis.extent // (nest.n_lanes * n_threads)), axis.extent)
    n_runs = math.ceil(axis.extent / run)
    inner = Axis(Var("run", "int64"), run)

    def share(first: Expr, count: Expr) -> tirx.Stmt:
        def one(i: Expr) -> tirx.Stmt:
            start = tirx.min((first + i) * run, integer(axis.extent - run))
            moved = {axis.variable: start + inner.variable}
            stage = replace(
                nest.stage,
                spatial=(inner,),
                indices=tuple(instantiate(index, moved, {}) for index in nest.stage.indices),
                value=instantiate(nest.stage.value, moved, {}),
            )
            return pointwise(replace(nest, stage=stage), [inner])

        return loop("run", count, one)

    return shared_loop("part", n_runs, n_threads, share)
