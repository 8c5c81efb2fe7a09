"""Which kernel of a student stands where which kernel of the teacher stood."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from latency_models.kernel import KernelTime

REACH = 2
"""Kernels between two that a compiler ran in another order."""
WINDOW_MARGIN = 2.0
"""Windows are of different size from this factor on: 3x3 against 1x1 is 9, one fused addition to one input 1.5."""


@dataclass(frozen=True)
class Profile:
    """A network's kernels beside its latency.

    Attributes:
        kernels: in order of execution.
        end_to_end_s: of one inference, timed without a profiler.
    """

    kernels: tuple[KernelTime, ...]
    end_to_end_s: float

    @property
    def kernels_s(self) -> float:
        """All kernels together."""
        return math.fsum(kernel.seconds for kernel in self.kernels)

    @property
    def between_s(self) -> float:
        """What an inference takes beside its kernels; 0 where they add up to more, as two timings never agree."""
        return max(0.0, self.end_to_end_s - self.kernels_s)

    @property
    def excess(self) -> float:
        """By what share of the latency the kernels add up to more than it; below zero where they take less."""
        return self.kernels_s / self.end_to_end_s - 1

    @property
    def whole_s(self) -> float:
        """What shares are of: the kernels and what is between them, so that they never add up to more than one."""
        return self.kernels_s + self.between_s

    @property
    def n_flops(self) -> int:
        """All kernels' operations."""
        return sum(kernel.n_flops for kernel in self.kernels)


@dataclass(frozen=True)
class Pair:
    """A kernel of the student and the teacher's that it stands for; one of them may be missing."""

    student: KernelTime | None
    teacher: KernelTime | None

    @property
    def name(self) -> str:
        """The student's; the teacher's where that is the same layer by another name (fused, quantised)."""
        if self.student is None:
            return "" if self.teacher is None else self.teacher.name
        if self.teacher is not None and _module(self.student) == _module(self.teacher):
            return self.teacher.name
        return self.student.name


def match(student: Sequence[KernelTime], teacher: Sequence[KernelTime]) -> tuple[Pair, ...]:
    """Pairs kernels in order of execution: the best alignment by operator, name, module and place in the network.

    Best effort: the runtime fuses and renames kernels as it likes. Every kernel is in exactly one pair; a student's
    order is kept. (Needleman & Wunsch 1970, with gaps at no cost; then equal names that ran in another order.)
    """
    known = {one.name for one in teacher if _module(one)} & {one.name for one in student if _module(one)}

    def likeness_of(i: int, j: int) -> float:
        mine, theirs = student[i], teacher[j]
        taken = mine.name != theirs.name and (mine.name in known or theirs.name in known)
        return 0.0 if taken else _likeness(mine, theirs)

    n, m = len(student), len(teacher)
    best = [[0.0] * (m + 1) for _ in range(n + 1)]
    for i in range(n - 1, -1, -1):
        row, below = best[i], best[i + 1]
        for j in range(m - 1, -1, -1):
            row[j] = max(below[j], row[j + 1], below[j + 1] + likeness_of(i, j))
    pairs, i, j = list[Pair](), 0, 0
    while i < n or j < m:
        if i < n and j < m:
            likeness = likeness_of(i, j)
            if likeness > 0 and best[i][j] == best[i + 1][j + 1] + likeness:
                pairs.append(Pair(student[i], teacher[j]))
                i, j = i + 1, j + 1
                continue
        if j >= m or (i < n and best[i][j] == best[i + 1][j]):
            pairs.append(Pair(student[i], None))
            i += 1
        else:
            pairs.append(Pair(None, teacher[j]))
            j += 1
    return _joined_beside(_joined_by_name(pairs))


def _joined_by_name(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """The pairs, with a student's and a teacher's kernel that are left over joined where they are the same layer."""
    alone = {
        (pair.teacher.name, pair.teacher.operator): pair.teacher
        for pair in pairs
        if pair.teacher is not None and pair.student is None
    }
    joined, taken = list[Pair](), set[str]()
    for pair in pairs:
        mine = pair.student
        theirs = alone.get((mine.name, mine.operator)) if mine is not None and pair.teacher is None else None
        if theirs is not None:
            taken.add(theirs.name)
            pair = Pair(mine, theirs)
        joined.append(pair)
    return tuple(
        pair for pair in joined if pair.student is not None or pair.teacher is None or pair.teacher.name not in taken
    )


def _joined_beside(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """The pairs, with left-over neighbours joined that are alike: the compiler may run two branches in either order."""
    joined = list(pairs)
    for n, pair in enumerate(joined):
        mine = pair.student
        if mine is None or pair.teacher is not None or _module(mine):
            continue
        for m in range(max(0, n - REACH), min(len(joined), n + REACH + 1)):
            theirs = joined[m].teacher
            if theirs is not None and joined[m].student is None and _likeness(mine, theirs) > 0:
                joined[n], joined[m] = Pair(mine, theirs), Pair(None, None)
                break
    return tuple(pair for pair in joined if pair.student is not None or pair.teacher is not None)


def is_part(student: KernelTime, teacher: KernelTime) -> bool:
    """Whether a kernel is one factor of a layer of the teacher that was factorised."""
    return student.operator == teacher.operator and student.name.startswith(f"{teacher.name}.")


def is_depthwise(kernel: KernelTime) -> bool:
    """Whether it convolves each channel alone."""
    return kernel.groups > 1 and kernel.groups == kernel.n_in


def _likeness(a: KernelTime, b: KernelTime) -> float:
    """0 for kernels that cannot stand for each other."""
    if a.operator != b.operator:
        return 0.0
    related = _module(a) and (_module(a) == _module(b) or is_part(a, b))
    if not related and not _same_window(a, b):
        return 0.0
    same_place = _n_places(a) == _n_places(b)
    points = 1.0 + 0.5 * same_place + (is_depthwise(a) == is_depthwise(b))
    if a.name == b.name or is_part(a, b):
        # Names without a module are numbered by some exporters, so that a dropped layer shifts them all.
        points += 4.0 if _module(a) or same_place else 0.0
    elif _module(a) and _module(a) == _module(b):
        points += 2.0
    elif _fused(a) == _fused(b):
        points += 0.25
    return points


def _n_places(kernel: KernelTime) -> int:
    """Positions of the output: pixels, words; in whatever layout its shape is."""
    return math.prod(kernel.shape) // kernel.n_out if kernel.n_out else math.prod(kernel.shape[2:])


def _same_window(a: KernelTime, b: KernelTime) -> bool:
    """Whether two convolutions read windows of about one size, e.g. 3x3; true of all else, and where it is unknown."""
    one, other = (_window(kernel) if kernel.operator == "Conv" else 0.0 for kernel in (a, b))
    return not one or not other or max(one, other) < WINDOW_MARGIN * min(one, other)


def _window(kernel: KernelTime) -> float:
    """Multiply-accumulates at each position for each pair of channels; what is fused into a kernel adds a little."""
    n_pairs = kernel.n_in * kernel.n_out // kernel.groups * _n_places(kernel)
    return kernel.n_flops / 2 / n_pairs if n_pairs else 0.0


def _fused(kernel: KernelTime) -> str:
    """The operators in a kernel's name: a compiler's numbers are others in each network."""
    return re.sub(r"\d+|_cast\d*|_call\d+", "", kernel.name)


def _module(kernel: KernelTime) -> str:
    """The module that a kernel's layer lies in, "" where the name shows none."""
    return kernel.name.rpartition(".")[0]
