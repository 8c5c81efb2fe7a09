"""What a kernel does, and the cycles that takes: computing and waiting for memory, block by block."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from latency_models.estimate.machine_code import BasicBlock
from latency_models.estimate.machine_model import Simulated

LINE_BYTES = 64


@dataclass(frozen=True)
class Part:
    """One basic block of a kernel, all its executions together.

    Attributes:
        cycles: with all data in the innermost cache.
        n_first: cache lines that it was the first of the kernel to touch.
        misses: for each cache, innermost first, lines that were not found there; counted from empty caches.
    """

    cycles: float
    n_first: int
    misses: tuple[int, ...]


@dataclass(frozen=True)
class Work:
    """A kernel.

    Attributes:
        parts: its basic blocks.
        n_lines: different cache lines that it touches.
        n_instructions: that it executes.
    """

    parts: tuple[Part, ...]
    n_lines: int
    n_instructions: int


def work_of(blocks: Sequence[BasicBlock], simulated: Mapping[tuple[str, ...], Simulated], n_lines: int) -> Work:
    """A kernel's work.

    A block that runs right after itself takes what a round of its endless repetition takes, chains of dependencies
    included. Any other runs once between others, with which an out-of-order core overlaps it: it takes what its
    resources allow.

    Args:
        blocks: what ran.
        simulated: for the instructions of blocks, what `machine_model.simulate` says; the instructions of others go at
            the pace of these.
        n_lines: different cache lines touched.
    """
    known = [(block, _cycles(block, *simulated[block.texts])) for block in blocks if block.texts in simulated]
    n_known = sum(block.n_instructions for block, _ in known)
    pace = sum(cycles for _, cycles in known) / n_known if n_known else 1.0
    known += [(block, pace * block.n_instructions) for block in blocks if block.texts not in simulated]
    parts = tuple(Part(cycles, block.n_first, block.misses) for block, cycles in known)
    return Work(parts, n_lines, sum(block.n_instructions for block in blocks))


def _cycles(block: BasicBlock, repeated: float, alone: float) -> float:
    return block.n_repeats * repeated + (block.count - block.n_repeats) * alone


def cycles_of(work: Work, shares_beyond: Sequence[float], bytes_per_cycle: Sequence[float]) -> float:
    """Cycles of a kernel within a network.

    Each block takes the root of the sum of squares of computing and of moving its lines: a core that runs ahead and
    prefetches does both at once, nearly hiding the shorter, but where both are long they get into each other's way.
    That lies between the longer of the two (all hidden) and their sum (nothing hidden); among the three it left the
    least spread of measured / estimated on the students that `benchmarks/estimate_error.py` sets apart for its common
    factor: 4.1 % against 5.7 % and 8.9 %. Blocks follow one another, so that what one waits for another's computing
    cannot hide (a copy into a padded buffer before a convolution).

    Args:
        work: the kernel's.
        shares_beyond: for each cache, the share of the kernel's data that lies beyond it when the kernel begins.
        bytes_per_cycle: what each cache, and last the memory, delivers; one entry more than `shares_beyond`.
    """
    return sum(math.hypot(part.cycles, memory_cycles(part, shares_beyond, bytes_per_cycle)) for part in work.parts)


def memory_cycles(part: Part, shares_beyond: Sequence[float], bytes_per_cycle: Sequence[float]) -> float:
    """Cycles to bring a block's lines from where they are into the innermost cache; arguments as for `cycles_of`.

    Lines that the kernel had touched before were counted exactly. Those it touches first lie where the rest of the
    network has left them, which the count on empty caches cannot know: `shares_beyond` says it.
    """
    beyond = [
        misses - part.n_first + part.n_first * share for misses, share in zip(part.misses, shares_beyond, strict=True)
    ]
    return sum(
        max(0.0, from_here - from_further) * LINE_BYTES / rate
        for from_here, from_further, rate in zip(beyond, [*beyond[1:], 0.0], bytes_per_cycle[1:], strict=True)
    )
