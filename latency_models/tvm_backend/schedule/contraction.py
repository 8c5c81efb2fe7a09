"""Reductions whose output's last axis is read and written in vectors: convolutions, matrix products, pooling, means."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tvm import tirx
from tvm.ir import Expr, Var

from latency_models.tvm_backend.schedule.expressions import (
    Read,
    coefficient,
    integer,
    is_load,
    loads,
    rebuild,
    variables,
)
from latency_models.tvm_backend.schedule.loops import allocated, loop
from latency_models.tvm_backend.schedule.slab import Slab, slab_of
from latency_models.tvm_backend.schedule.stages import Axis, Stage
from latency_models.tvm_backend.schedule.threads import shared_loop
from latency_models.tvm_backend.schedule.tile_code import tile_code
from latency_models.tvm_backend.schedule.tiles import Tile, Work, best_tile, shared_axis, tiles_along
from latency_models.tvm_backend.schedule.vectors import Vectors

MIN_REUSE = 4
"""Rows that must share an operand before it is copied into another order for them."""
SLAB_BYTES = 512 * 1024
"""Largest padded piece of an input that is made before it is used: it should stay in the second-level cache."""


@dataclass(frozen=True)
class Contraction:
    """A reduction, what is done to its result, and what is made for it beforehand.

    Attributes:
        stage: the reduction; its last spatial axis is walked in vectors.
        epilogues: element-wise stages on its result, each with the reduction's axes in terms of its own.
        keeps_result: whether the reduction's own result is an output too.
        helpers: stages whose results only it reads: padded inputs.
    """

    stage: Stage
    epilogues: tuple[Stage, ...] = ()
    keeps_result: bool = False
    helpers: tuple[Stage, ...] = ()


def has_vector_axis(stage: Stage) -> bool:
    """Whether the output's last axis can be walked in vectors: every operand that varies along it does so in memory
    order, or it is worth packing, being used by several rows.
    """
    if stage.combine is None or not stage.spatial or not stage.reduction:
        return False
    last = stage.spatial[-1].variable
    if not stage.indices[-1].same_as(last):
        return False
    operands = loads(stage.value)
    strided = [load for load in operands if last in _used(load) and not _is_contiguous(load, last)]
    if not strided:
        return True
    rows = set().union(*(_used(load) for load in operands if last not in _used(load)))
    reused = [axis.extent for axis in stage.spatial[:-1] if axis.variable in rows]
    return math.prod(reused) >= MIN_REUSE


def contraction(job: Contraction, vectors: Vectors, n_threads: int, reads: Mapping[Var, Read]) -> tirx.Stmt:
    """Loops over register tiles, shared out among threads; reads of other intermediate buffers go through `reads`."""
    axes = _roles(job.stage)
    job = _packed(job, axes)
    work = _work(job.stage, axes, n_threads)
    tile = best_tile(work, vectors)
    counts = tiles_along(work, tile)
    shared = shared_axis(work, tile, n_threads) if n_threads > 1 else -1
    grid = _Grid(job, axes, tile, counts, vectors, reads)
    return grid.shared_out(shared, n_threads)


@dataclass(frozen=True)
class _Roles:
    """The output's axes by what they are for: outer ones, up to two of rows within a tile, vectors."""

    outer: tuple[Axis, ...]
    high: Axis | None
    wide: Axis | None
    vector: Axis


def _used(load: Expr) -> set[Var]:
    return set().union(*(variables(index) for index in load.indices))


def _is_contiguous(load: Expr, variable: Var) -> bool:
    *leading, last = load.indices
    return coefficient(last, variable) == 1 and not any(variable in variables(index) for index in leading)


def _roles(stage: Stage) -> _Roles:
    *rows, vector = stage.spatial
    operands = [_used(load) for load in loads(stage.value)]
    along = [used for used in operands if vector.variable in used]
    row_variables = {axis.variable for axis in rows}
    shared = [used for used in along if not row_variables <= used] or along
    free: list[Axis] = []
    while rows and len(free) < 2:
        depends = [rows[-1].variable in used for used in shared]
        if depends and all(depends) and len(along) < len(operands):
            break  # every row has its own weights: an axis of batches
        free.append(rows.pop())
    wide = free[0] if len(free) == 2 else None
    high = free[-1] if free else None
    return _Roles(tuple(rows), high, wide, vector)


def _work(stage: Stage, axes: _Roles, n_threads: int) -> Work:
    rows = {axis.variable for axis in (axes.high, axes.wide) if axis is not None}
    n_shared = n_streamed = n_broadcast = 0
    for load in loads(stage.value):
        used = _used(load)
        if axes.vector.variable in used:
            n_streamed, n_shared = (n_streamed + 1, n_shared) if used & rows else (n_streamed, n_shared + 1)
        else:
            n_broadcast += 1
    return Work(
        n_high=axes.high.extent if axes.high else 1,
        n_wide=axes.wide.extent if axes.wide else 1,
        n_out=axes.vector.extent,
        depth=math.prod(axis.extent for axis in stage.reduction),
        n_inner=stage.reduction[-1].extent,
        n_shared=n_shared,
        n_streamed=n_streamed,
        n_broadcast=n_broadcast,
        n_outer=math.prod(axis.extent for axis in axes.outer),
        n_threads=n_threads,
    )


def _packed(job: Contraction, axes: _Roles) -> Contraction:
    """The same with operands that are strided along the vector axis copied into its order beforehand."""
    stage, helpers = job.stage, list(job.helpers)
    vector = stage.spatial[-1]
    held = {axis.variable for axis in axes.outer}

    def replace_load(node: Expr) -> Expr | None:
        if not is_load(node) or vector.variable not in _used(node) or _is_contiguous(node, vector.variable):
            return None
        own = [axis for axis in (*stage.spatial[:-1], *stage.reduction) if axis.variable in _used(node) - held]
        own.append(vector)
        shape = [integer(axis.extent) for axis in own]
        buffer = tirx.decl_buffer(shape, str(node.ty), name="packed")
        indices = tuple(axis.variable for axis in own)
        helpers.append(Stage("packed", tuple(own), (), buffer, indices, node))
        return tirx.BufferLoad(buffer, list(indices))

    value = rebuild(stage.value, replace_load)
    return replace(job, stage=replace(stage, value=value), helpers=tuple(helpers))


@dataclass(frozen=True)
class _Grid:
    """Loops around the tile's code."""

    job: Contraction
    axes: _Roles
    tile: Tile
    counts: tuple[int, int, int, int]
    vectors: Vectors
    reads: Mapping[Var, Read]

    def shared_out(self, shared: int, n_threads: int) -> tirx.Stmt:
        n_outer, n_across, n_high, _ = self.counts
        whole_across, whole_high = (integer(0), integer(n_across)), (integer(0), integer(n_high))
        if shared == 0:
            return shared_loop(
                "part",
                n_outer,
                n_threads,
                lambda start, length: loop(
                    "outer", length, lambda i: self._outer(start + i, whole_across, whole_high, n_high)
                ),
            )
        if shared == 1:
            return shared_loop("part", n_across, n_threads, lambda *across: self._all_outer(across, whole_high, n_high))
        n_threads = n_threads if shared == 2 else 1
        longest = math.ceil(n_high / min(n_threads, n_high))
        return shared_loop("part", n_high, n_threads, lambda *high: self._all_outer(whole_across, high, longest))

    def _all_outer(self, across: tuple[Expr, Expr], high: tuple[Expr, Expr], longest: int) -> tirx.Stmt:
        return loop("outer", self.counts[0], lambda i: self._outer(i, across, high, longest))

    def _outer(self, index: Expr, across: tuple[Expr, Expr], high: tuple[Expr, Expr], longest: int) -> tirx.Stmt:
        """One element of the outer axes; its rows in chunks whose padded input is made beforehand."""
        values: dict[Var, Expr] = {}
        for axis in reversed(self.axes.outer):
            values[axis.variable] = tirx.floormod(index, integer(axis.extent))
            index = tirx.floordiv(index, integer(axis.extent))
        start, length = high
        n_tiles = self._chunk(longest)
        if n_tiles >= longest:
            return self._chunk_code(values, across, start, length, longest)

        def chunk(i: Expr) -> tirx.Stmt:
            size = tirx.min(integer(n_tiles), length - i * n_tiles)
            return self._chunk_code(values, across, start + i * n_tiles, size, n_tiles)

        return loop("chunk", tirx.floordiv(length + (n_tiles - 1), integer(n_tiles)), chunk)

    def _chunk(self, longest: int) -> int:
        """Tiles of rows whose padded inputs fit the cache."""
        if not self.job.helpers or self.axes.high is None:
            return longest
        zeros: dict[Var, Expr] = {axis.variable: integer(0) for axis in self.axes.outer}
        n_tiles = longest
        while n_tiles > 1 and sum(slab.size_bytes for slab in self._slabs(zeros, integer(0), n_tiles)) > SLAB_BYTES:
            n_tiles = math.ceil(n_tiles / 2)
        return n_tiles

    def _slabs(self, values: Mapping[Var, Expr], first: Expr, n_tiles: int) -> list[Slab]:
        high = self.axes.high
        rows = min(n_tiles * self.tile.high, high.extent) if high else 1
        start = {**values}
        if high:
            start[high.variable] = first
        return [slab_of(helper, self.job.stage, start, high, rows) for helper in self.job.helpers]

    def _chunk_code(
        self, values: dict[Var, Expr], across: tuple[Expr, Expr], start: Expr, length: Expr, longest: int
    ) -> tirx.Stmt:
        first = self._first(start, self.tile.high, self.axes.high)
        slabs = self._slabs(values, first, longest)
        reads = {**self.reads, **{slab.stage.buffer: slab.read for slab in slabs}}

        def one(i: Expr, j: Expr, k: Expr) -> tirx.Stmt:
            at = dict(values)
            for axis, index, size in (
                (self.axes.vector, across[0] + i, self.tile.width),
                (self.axes.high, start + j, self.tile.high),
                (self.axes.wide, k, self.tile.wide),
            ):
                if axis is not None:
                    at[axis.variable] = self._first(index, size, axis)
            return self._tile(at, reads)

        body = loop(
            "across",
            across[1],
            lambda i: loop("high", length, lambda j: loop("wide", self.counts[3], lambda k: one(i, j, k))),
        )
        fills = [slab.fill(self.vectors.n_lanes, self.reads) for slab in slabs]
        return allocated([slab.buffer for slab in slabs], *fills, body)

    def _first(self, index: Expr, size: int, axis: Axis | None) -> Expr:
        """Where a tile starts; the last one is moved back to end with the axis."""
        if axis is None:
            return integer(0)
        if axis.extent == size:
            return integer(0)
        start = index * size
        return start if axis.extent % size == 0 else tirx.min(start, integer(axis.extent - size))

    def _tile(self, at: Mapping[Var, Expr], reads: Mapping[Var, Read]) -> tirx.Stmt:
        high, wide, vector = self.axes.high, self.axes.wide, self.axes.vector
        rows: list[dict[Var, int]] = []
        for i in range(self.tile.high):
            for j in range(self.tile.wide):
                offsets = ((high, i), (wide, j))
                rows.append({axis.variable: offset for axis, offset in offsets if axis is not None})
        results = (*self.job.epilogues, *([None] if self.job.keeps_result or not self.job.epilogues else []))
        return tile_code(self.job.stage, results, at, rows, vector.variable, self.tile, reads)
