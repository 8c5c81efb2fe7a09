"""The code of one register tile: accumulators, the reduction's loops, and what is done to the result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr, Var

from latency_models.tvm_backend.schedule.expressions import Read, instantiate, loads
from latency_models.tvm_backend.schedule.loops import allocated, local, loop, nested, sequence, store, vectorized
from latency_models.tvm_backend.schedule.operands import copies_of, cursor_of, operand_of, terms_of
from latency_models.tvm_backend.schedule.stages import COMBINED, Axis, Combine, Stage
from latency_models.tvm_backend.schedule.tiles import Tile

MAX_STATEMENTS = 48
"""Multiply-accumulates in a loop's body: more make code generation slow and nothing faster."""
MAX_STATEMENTS_UNROLLED = 160
"""The same where it spares the loop over a short axis (a convolution kernel's width) altogether."""


def tile_code(
    stage: Stage,
    results: Sequence[Stage | None],
    start: Mapping[Var, Expr],
    rows: Sequence[Mapping[Var, int]],
    vector: Var,
    tile: Tile,
    reads: Mapping[Var, Read],
) -> tirx.Stmt:
    """One tile, from cleared accumulators to stored results.

    Args:
        stage: the reduction.
        results: element-wise stages on its result; None for the result itself.
        start: values of the stage's axes where the tile starts.
        rows: for each row how far it is from the start along the axes.
        vector: the vector axis.
        tile: its shape.
        reads: what stands for loads from intermediate buffers.
    """
    places = [
        _Place({**row, vector: offset}, [local("sum", (tile.n_lanes,), stage.dtype) for _ in range(tile.n_split)])
        for row in rows
        for offset in tile.offsets
    ]
    flat = [part for place in places for part in place.sums]

    def clear(lane: Expr) -> tirx.Stmt:
        return sequence(store(part, [lane], _init(stage)) for part in flat)

    reduce = _reduction_loops(stage, places, start, vector, tile, reads)
    finish = [_finish(stage, result, places, start, vector, tile, reads) for result in results]
    return allocated(flat, vectorized(tile.n_lanes, clear), reduce, *finish)


@dataclass(frozen=True)
class _Place:
    """One vector of one row: how far it is from the tile's start along the axes, and its accumulators."""

    offsets: Mapping[Var, int]
    sums: list[Var]


def _reduction_loops(
    stage: Stage,
    places: Sequence[_Place],
    start: Mapping[Var, Expr],
    vector: Var,
    tile: Tile,
    reads: Mapping[Var, Read],
) -> tirx.Stmt:
    """All terms of all of a tile's elements added up."""
    n_unrolled = _n_unrolled(stage.reduction, len(places), tile.n_split)
    *leading, inner = stage.reduction
    combined = COMBINED[_combine(stage)]
    terms = terms_of(stage.value, [*start, *(axis.variable for axis in stage.reduction)], reads)

    def body(indices: list[Expr]) -> tirx.Stmt:
        outer = {axis.variable: index for axis, index in zip(leading, indices, strict=True)}

        def steps(step: Expr) -> tirx.Stmt:
            copies = copies_of(terms, {**start, **outer, inner.variable: step * n_unrolled}, reads, vector)
            offsets = [{**place.offsets, inner.variable: i} for i in range(n_unrolled) for place in places]
            parts = [place.sums[i % tile.n_split] for i in range(n_unrolled) for place in places]

            def lanes(lane: Expr) -> tirx.Stmt:
                code = []
                written = copies.written_out(offsets, lane, [{}] * len(offsets))
                for part, (new, value) in zip(parts, written, strict=True):
                    code += [*new, store(part, [lane], combined(tirx.BufferLoad(part, [lane]), value))]
                return sequence(code)

            return sequence([*copies.bases, vectorized(tile.n_lanes, lanes)])

        return loop(inner.variable.name, inner.extent // n_unrolled, steps)

    return nested([axis.variable.name for axis in leading], [axis.extent for axis in leading], body)


def _finish(
    stage: Stage,
    result: Stage | None,
    places: Sequence[_Place],
    start: Mapping[Var, Expr],
    vector: Var,
    tile: Tile,
    reads: Mapping[Var, Read],
) -> tirx.Stmt:
    """Stores of a result for the whole tile."""
    total = Var("total", stage.dtype)
    axes = list(start)
    if result is None:
        value, written = total, tirx.BufferLoad(stage.buffer, list(stage.indices))
    else:
        matched = aligned_epilogue(stage, result)
        if matched is None:
            raise ValueError(f"{result.name} does not follow {stage.name}")
        value = instantiate(result.value, matched, {**reads, stage.buffer: lambda indices: total})
        written = tirx.BufferLoad(result.buffer, [instantiate(index, matched, {}) for index in result.indices])
    copies = copies_of(terms_of(value, axes, {}), start, {}, vector)
    operand = operand_of(written, axes)
    cursor = cursor_of(operand, start) if operand is not None else None

    def indices(offsets: Mapping[Var, int], lane: Expr) -> list[Expr]:
        if cursor is not None:
            return cursor.indices(cursor.distance(offsets), vector, lane)
        everywhere = {axis: value + offsets.get(axis, 0) for axis, value in start.items()}
        everywhere[vector] = everywhere[vector] + lane
        return [instantiate(index, everywhere, {}) for index in written.indices]

    def lanes(lane: Expr) -> tirx.Stmt:
        offsets = [place.offsets for place in places]
        totals = [{total: _total(stage, place.sums, lane)} for place in places]
        code = []
        for place, (new, finished) in zip(places, copies.written_out(offsets, lane, totals), strict=True):
            code += [*new, store(written.source, indices(place.offsets, lane), finished)]
        return sequence(code)

    bases = copies.bases if cursor is None else [*copies.bases, cursor.bind]
    return sequence([*bases, vectorized(tile.n_lanes, lanes)])


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
