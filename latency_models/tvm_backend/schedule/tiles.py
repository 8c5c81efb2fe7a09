"""Register tiles: how many rows and vectors of a reduction's output are accumulated at once."""

import math
from dataclasses import dataclass
from functools import cache

from latency_models.tvm_backend.schedule.vectors import Vectors, power_of_two_below

FMA_PER_CYCLE = 2
LOADS_PER_CYCLE = 2
FMA_LATENCY = 4
TILE_CYCLES = 12.0
"""Of starting a tile: addresses, loops."""
STORE_CYCLES = 2.0
"""Of one vector's epilogue and store."""
MAX_VECTORS = 6
MAX_SPLIT = 8
SPARE_REGISTERS = 1
"""Registers that the compiler needs for itself beside accumulators and operands."""


@dataclass(frozen=True)
class Work:
    """What a reduction asks of a tile.

    Attributes:
        n_high, n_wide: rows, as two nested axes; 1 where there are fewer.
        n_out: elements along the vector axis.
        depth: terms of one output element.
        n_inner: extent of the innermost reduction axis.
        n_shared: operands of a term that rows share (weights).
        n_streamed: operands that differ by row and lane (a depthwise convolution's input).
        n_broadcast: operands that all lanes share (a convolution's input).
        n_outer: tiles of other axes (batch, heads).
        n_threads: that share the tiles.
    """

    n_high: int
    n_wide: int
    n_out: int
    depth: int
    n_inner: int
    n_shared: int
    n_streamed: int
    n_broadcast: int
    n_outer: int = 1
    n_threads: int = 1


@dataclass(frozen=True)
class Tile:
    """Rows and vectors that are accumulated at once, and how the tiles cover the output.

    Attributes:
        high, wide: rows.
        n_lanes: of a vector.
        offsets: of the tile's vectors, in elements.
        width: elements along the vector axis, as far apart as tiles of neighbouring vectors are.
        n_split: accumulators a vector has, each for every n-th term, so that additions need not wait for one another.
    """

    high: int
    wide: int
    n_lanes: int
    offsets: tuple[int, ...]
    width: int
    n_split: int


@cache
def best_tile(work: Work, vectors: Vectors) -> Tile:
    """The tile with the fewest estimated cycles of the busiest thread."""
    candidates = [
        tile
        for n_lanes in _lane_counts(work.n_out, vectors.n_lanes)
        for n_vectors in range(1, min(MAX_VECTORS, math.ceil(work.n_out / n_lanes)) + 1)
        for tile in _tiles(work, vectors, n_lanes, n_vectors)
    ]
    return min(candidates, key=lambda tile: (_cycles(work, tile), tile.high, tile.n_split))


def _lane_counts(n_out: int, n_lanes: int) -> list[int]:
    """Lanes worth trying: a whole register, or what fits; and an odd width in one register."""
    if n_out >= n_lanes:
        return [n_lanes]
    return sorted({power_of_two_below(n_out), n_out} if n_out > 4 else {power_of_two_below(n_out)})


def _tiles(work: Work, vectors: Vectors, n_lanes: int, n_vectors: int) -> list[Tile]:
    n_operands = n_vectors * max(work.n_shared, 1) + (1 if work.n_streamed or work.n_broadcast else 0)
    n_accumulators = vectors.n_registers - n_operands - SPARE_REGISTERS
    width = n_vectors * n_lanes
    if n_vectors * n_lanes >= work.n_out:
        width = work.n_out
    offsets = tuple(min(i * n_lanes, width - n_lanes) for i in range(n_vectors))
    tiles = []
    for wide in range(1, work.n_wide + 1):
        for high in range(1, work.n_high + 1):
            for n_split in (1, 2, 4, MAX_SPLIT):
                n_used = wide * high * n_vectors * n_split
                if n_used > max(n_accumulators, 1) or work.n_inner % n_split:
                    break
                tiles.append(Tile(high, wide, n_lanes, offsets, width, n_split))
            if wide * (high + 1) * n_vectors > n_accumulators:
                break
        if wide * n_vectors > n_accumulators:
            break
    return tiles


def tiles_along(work: Work, tile: Tile) -> tuple[int, int, int, int]:
    """How many tiles cover the other axes, the vector axis and the two row axes."""
    return (
        work.n_outer,
        math.ceil(work.n_out / tile.width),
        math.ceil(work.n_high / tile.high),
        math.ceil(work.n_wide / tile.wide),
    )


def shared_axis(work: Work, tile: Tile, n_threads: int) -> int:
    """Which of `tiles_along` is best shared out among threads: the most even, then the outermost rows first."""
    counts = tiles_along(work, tile)
    order = (0, 2, 1)
    return min(
        order, key=lambda axis: (round(math.ceil(counts[axis] / n_threads) / counts[axis], 3), order.index(axis))
    )


def _cycles(work: Work, tile: Tile) -> float:
    rows, n_vectors = tile.high * tile.wide, len(tile.offsets)
    n_fma = rows * n_vectors
    odd = 2 if tile.n_lanes & (tile.n_lanes - 1) else 0
    n_loads = work.n_shared * n_vectors * (1 + odd) + work.n_broadcast * rows + work.n_streamed * n_fma * (1 + odd)
    term = max(n_fma / FMA_PER_CYCLE, n_loads / LOADS_PER_CYCLE, FMA_LATENCY / tile.n_split)
    counts = tiles_along(work, tile)
    shared = shared_axis(work, tile, work.n_threads)
    n_tiles = math.prod(counts) / counts[shared] * math.ceil(counts[shared] / work.n_threads)
    return n_tiles * (TILE_CYCLES + work.depth * term + n_fma * (STORE_CYCLES + odd + 0.5 * (tile.n_split - 1)))
