"""The code of one register tile: accumulators, the reduction's loops, and what is done to the result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr, Var

from latency_models.tvm_backend.schedule.expressions import Read, instantiate, loads
from latency_models.tvm_backend.schedule.loops import allocated, local, loop, nested, sequence, store, vectorized
from latency_models.tvm_backend.schedule.stages import Axis, Combine, Stage
from latency_models.tvm_backend.schedule.tiles import Tile

MAX_STATEMENTS = 48
"""Multiply-accumulates in a loop's body: more make code generation slow and nothing faster."""
MAX_STATEMENTS_UNROLLED = 160
"""The same where it spares the loop over a short axis (a convolution kernel's width) altogether."""
COMBINED: dict[Combine, Callable[[Expr, Expr], Expr]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "max": tirx.max,
    "min": tirx.min,
}


def tile_code(
    stage: Stage,
    results: Sequence[Stage | None],
    rows: Sequence[Mapping[Var, Expr]],
    vector: Var,
    tile: Tile,
    reads: Mapping[Var, Read],
) -> tirx.Stmt:
    """One tile, from cleared accumulators to stored results.

    Args:
        stage: the reduction.
        results: element-wise stages on its result; None for the result itself.
        rows: for each row the values of the stage's axes; of the vector axis where the tile starts.
        vector: the vector axis.
        tile: its shape.
        reads: what stands for loads from intermediate buffers.
    """
    parts = [
        [[local("sum", (tile.n_lanes,), stage.dtype) for _ in range(tile.n_split)] for _ in tile.offsets] for _ in rows
    ]
    places = [
        _Place(row, row[vector] + offset, splits)
        for row, vectors in zip(rows, parts, strict=True)
        for offset, splits in zip(tile.offsets, vectors, strict=True)
    ]
    flat = [part for place in places for part in place.sums]

    def clear(lane: Expr) -> tirx.Stmt:
        return sequence(store(part, [lane], _init(stage)) for part in flat)

    def finish(lane: Expr) -> tirx.Stmt:
        return sequence(
            _result(stage, result, {**place.row, vector: place.start + lane}, _total(stage, place.sums, lane), reads)
            for place in places
            for result in results
        )

    reduce = _reduction_loops(stage, places, vector, tile, reads)
    return allocated(flat, vectorized(tile.n_lanes, clear), reduce, vectorized(tile.n_lanes, finish))


@dataclass(frozen=True)
class _Place:
    """One vector of one row: the row's values of the axes, where the vector starts, and its accumulators."""

    row: Mapping[Var, Expr]
    start: Expr
    sums: list[Var]


def _reduction_loops(
    stage: Stage, places: Sequence[_Place], vector: Var, tile: Tile, reads: Mapping[Var, Read]
) -> tirx.Stmt:
    """All terms of all of a tile's elements added up."""
    n_unrolled = _n_unrolled(stage.reduction, len(places), tile.n_split)
    *leading, inner = stage.reduction
    combined = COMBINED[_combine(stage)]

    def term(place: _Place, reduced: Mapping[Var, Expr], part: Var, lane: Expr) -> tirx.Stmt:
        value = instantiate(stage.value, {**place.row, **reduced, vector: place.start + lane}, reads)
        return store(part, [lane], combined(tirx.BufferLoad(part, [lane]), value))

    def body(indices: list[Expr]) -> tirx.Stmt:
        outer = {axis.variable: index for axis, index in zip(leading, indices, strict=True)}

        def steps(step: Expr) -> tirx.Stmt:
            reduced = [{**outer, inner.variable: step * n_unrolled + i} for i in range(n_unrolled)]
            return vectorized(
                tile.n_lanes,
                lambda lane: sequence(
                    term(place, at, place.sums[i % tile.n_split], lane)
                    for i, at in enumerate(reduced)
                    for place in places
                ),
            )

        return loop(inner.variable.name, inner.extent // n_unrolled, steps)

    return nested([axis.variable.name for axis in leading], [axis.extent for axis in leading], body)


def aligned_epilogue(stage: Stage, epilogue: Stage) -> dict[Var, Var] | None:
    """The epilogue's axes in terms of the reduction's, where it reads for each of its elements just one of the
    reduction's, and every one once; else None.
    """
    own = [load for load in loads(epilogue.value) if load.source.same_as(stage.buffer)]
    axes = {axis.variable: axis.extent for axis in stage.spatial}
    matched: dict[Var, Var] = {}
    for load in own:
        for written, read in zip(stage.indices, load.indices, strict=True):
            if isinstance(written, tirx.IntImm):
                continue
            if not isinstance(read, Var) or not written.same_as(matched.setdefault(read, written)):
                return None
    extents = {axis.variable: axis.extent for axis in epilogue.spatial}
    same = own and set(matched) == set(extents) and {*matched.values()} == set(axes)
    return matched if same and all(axes[to] == extents[of] for of, to in matched.items()) else None


def _combine(stage: Stage) -> Combine:
    if stage.combine is None:
        raise ValueError(f"{stage.name} reduces nothing")
    return stage.combine


def _init(stage: Stage) -> Expr:
    if stage.init is None:
        raise ValueError(f"{stage.name} reduces nothing")
    return stage.init


def _n_unrolled(reduction: Sequence[Axis], n_terms: int, n_split: int) -> int:
    """How many steps of the innermost reduction axis are written out."""
    extent = reduction[-1].extent
    if extent <= 8 and extent % n_split == 0 and extent * n_terms <= MAX_STATEMENTS_UNROLLED:
        return extent
    most = max(n_split, MAX_STATEMENTS // n_terms)
    return max(n for n in range(1, min(extent, most, 8 * n_split) + 1) if extent % n == 0 and n % n_split == 0)


def _total(stage: Stage, splits: Sequence[Var], lane: Expr) -> Expr:
    values = [tirx.BufferLoad(part, [lane]) for part in splits]
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=True)
        values = [COMBINED[_combine(stage)](one, other) for one, other in pairs]
    return values[0]


def _result(
    stage: Stage, epilogue: Stage | None, values: Mapping[Var, Expr], total: Expr, reads: Mapping[Var, Read]
) -> tirx.Stmt:
    if epilogue is None:
        return store(stage.buffer, [instantiate(index, values, {}) for index in stage.indices], total)
    matched = aligned_epilogue(stage, epilogue)
    if matched is None:
        raise ValueError(f"{epilogue.name} does not follow {stage.name}")
    own = {axis: values[to] for axis, to in matched.items()}
    value = instantiate(epilogue.value, own, {**reads, stage.buffer: lambda indices: total})
    return store(epilogue.buffer, [instantiate(index, own, {}) for index in epilogue.indices], value)
