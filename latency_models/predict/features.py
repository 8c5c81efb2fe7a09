"""Numbers that a network's latency is a sum of, or nearly: for each family of kernels how often, how much, how large.

The hardware's staircase: a vector register holds a fixed number of channels, so that a width between two steps costs as
much as the next one. Operations are counted with channels (and positions) rounded up to several steps; which of them a
target keeps to is learned.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from latency_models.errors import LatencyError
from latency_models.predict.fusion import COMPUTE, ELEMENTWISE, NORMS, POOLS
from latency_models.predict.kernels import Kernel, Network

FAMILIES = ("dense", "pointwise", "depthwise", "grouped", "matmul", "pool", "reduction", "elementwise", "norm", "other")
PRECISIONS = ("float32", "int8")
STEPS = (1, 8, 16, 32)
"""Channels that a vector register may hold: of four bytes in 256 and 512 bits, of one byte in 128 and 256."""
N_POSITIONS = 32
"""Positions of a map that a kernel works on at a time, at most; smaller maps leave it idle."""
CURVED = frozenset((
    "Sigmoid", "Tanh", "Gelu", "Erf", "Exp", "HardSigmoid", "HardSwish", "Elu", "Selu", "Softplus", "Mish", "Pow",
))  # fmt: skip
"""Activations that take more than a comparison."""
SUMS = frozenset(("Add", "Sum", "Sub", "Mul"))
MEASURES = ("calls", *(f"macs{step}" for step in STEPS), "macs_small", "read", "written", "weights", "curved", "sums")
N_SIZES = 8
"""Maps of up to 1, 2, 4 ... 128 rows and more."""

N_MEASURES = len(MEASURES)
N_COLUMNS = len(FAMILIES) * len(PRECISIONS) * N_MEASURES
N_PLACES = len(FAMILIES) * N_SIZES

Array = NDArray[np.float64]


def column_names() -> tuple[str, ...]:
    """`float32 dense calls` ... of the columns of `features`."""
    return tuple(f"{p} {f} {m}" for p in PRECISIONS for f in FAMILIES for m in MEASURES)


def family_of(kernel: Kernel) -> str:
    """One of `FAMILIES`."""
    operator = kernel.operator
    if operator in ("Conv", "ConvTranspose"):
        if kernel.groups == 1:
            return "pointwise" if kernel.window == (1, 1) else "dense"
        return "depthwise" if kernel.groups == kernel.n_in else "grouped"
    if operator in COMPUTE:
        return "matmul"
    if operator in POOLS:
        return "reduction" if kernel.size == (1, 1) else "pool"
    if operator in ELEMENTWISE:
        return "elementwise"
    return "norm" if operator in NORMS else "other"


def features(kernels: Sequence[Kernel]) -> Array:
    """(N_COLUMNS,) sums over kernels."""
    total = np.zeros(N_COLUMNS)
    for kernel in kernels:
        start, values = _columns(kernel)
        total[start : start + N_MEASURES] += values
    return total


def places(kernels: Sequence[Kernel]) -> Array:
    """(N_PLACES,) how often each family runs on maps of each size."""
    total = np.zeros(N_PLACES)
    for kernel in kernels:
        total[_place(kernel)] += 1
    return total


@dataclass(frozen=True)
class Table:
    """Networks in numbers, one row each.

    Attributes:
        columns, removed: (n, N_COLUMNS) `features` of the kernels and of what was removed.
        places, removed_places: (n, N_PLACES).
        whole: (n, 4) `Network.longest` and `Network.n_operators`.
        kernels: all different ones, where they are known.
        members: (n, len(kernels)) how often each network has each of them, where they are known.
    """

    columns: Array
    removed: Array
    places: Array
    removed_places: Array
    whole: Array
    kernels: tuple[Kernel, ...] = ()
    members: csr_array | None = None

    def rows(self, numbers: Sequence[int] | NDArray[np.int64]) -> "Table":
        """Some of the networks."""
        picked = np.asarray(numbers, dtype=np.int64)
        return Table(
            self.columns[picked], self.removed[picked], self.places[picked], self.removed_places[picked],
            self.whole[picked], self.kernels, None if self.members is None else self.members[picked],
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.whole)


ARRAYS = ("columns", "removed", "places", "removed_places", "whole")
"""Attributes of `Table` that are numbers."""


def table_of(networks: Iterable[Network]) -> Table:
    """Networks in numbers. Each distinct kernel is turned into numbers once; a network is a sum of such rows."""
    numbers: dict[Kernel, int] = {}
    living, removed, whole = _Members(numbers), _Members(numbers), []
    for one in networks:
        living.add(one.kernels)
        removed.add(one.removed)
        whole.append((*one.longest, one.n_operators))
    kernels = list(numbers)
    columns = np.array([features([one]) for one in kernels]).reshape(-1, N_COLUMNS)
    spots = np.array([places([one]) for one in kernels]).reshape(-1, N_PLACES)
    alive, dead = living.matrix(len(kernels)), removed.matrix(len(kernels))
    return Table(
        alive @ columns, dead @ columns, alive @ spots, dead @ spots,
        np.array(whole, dtype=np.float64).reshape(-1, 4), tuple(kernels), alive,
    )  # fmt: skip


def alone(kernels: Iterable[Kernel]) -> Table:
    """Each kernel as a network of its own."""
    return table_of(Network((kernel,)) for kernel in kernels)


def members_of(table: Table) -> csr_array:
    """`Table.members`.

    Raises:
        LatencyError: the table does not say which kernels its networks have.
    """
    if table.members is None:
        raise LatencyError("The table does not say which kernels its networks have.", "Make it with `table_of`.")
    return table.members


def joined(tables: Sequence[Table]) -> Table:
    """The networks of several tables in one that does not say which kernels they have."""
    columns, removed, spots, removed_spots, whole = (
        np.vstack([getattr(one, name) for one in tables]) for name in ARRAYS
    )
    return Table(columns, removed, spots, removed_spots, whole)


@final
class _Members:
    """Which kernels each network consists of, by their numbers."""

    def __init__(self, numbers: dict[Kernel, int]) -> None:
        self._numbers = numbers
        self._members: list[int] = []
        self._ends = [0]

    def add(self, kernels: Sequence[Kernel]) -> None:
        """One more network."""
        numbers = self._numbers
        self._members += [numbers.setdefault(kernel, len(numbers)) for kernel in kernels]
        self._ends.append(len(self._members))

    def matrix(self, n_kernels: int) -> csr_array:
        """(n, n_kernels) how often each network has each kernel."""
        ones = np.ones(len(self._members))
        return csr_array((ones, self._members, self._ends), shape=(len(self._ends) - 1, n_kernels))


GROUPS = (("calls",), ("macs16",), ("read", "written"), ("weights",))
"""Measures that are one in `totals`."""


def totals(table: Table) -> Array:
    """(n, 11) what a network is in all: calls, MACs on steps of 16, activations, weights; the first three of what was
    removed; the longest paths and the operators."""
    living, removed = (_grouped(columns) for columns in (table.columns, table.removed))
    return np.hstack([living, removed[:, :3], table.whole])


def counts(table: Table) -> Array:
    """(n, 2 N_PLACES + 4) which kernels run where, without and with what was removed, and the longest paths."""
    return np.hstack([table.places, table.places + table.removed_places, table.whole])


def everything(table: Table) -> Array:
    """(n, ...) all numbers, sizes as logarithms."""
    sizes = (np.log1p(table.columns), np.log1p(table.removed), np.log1p(table.places), np.log1p(table.removed_places))
    return np.hstack([*sizes, table.places, table.removed_places, table.whole])


def _grouped(columns: Array) -> Array:
    """(n, len(GROUPS)) measures summed over families and precisions."""
    by_measure = columns.reshape(len(columns), -1, N_MEASURES).sum(1)
    return np.array([by_measure[:, [MEASURES.index(name) for name in group]].sum(1) for group in GROUPS]).T


@lru_cache(maxsize=200_000)
def _columns(kernel: Kernel) -> tuple[int, Array]:
    """Where a kernel's columns begin, and its values there."""
    first = PRECISIONS.index(kernel.precision) * len(FAMILIES) + FAMILIES.index(family_of(kernel))
    curved = sum(name in CURVED for name in (kernel.operator, *kernel.followers))
    sums = sum(name in SUMS for name in kernel.followers)
    values = (
        1.0,
        *(float(stepped_macs(kernel, step)) for step in STEPS),
        float(stepped_macs(kernel, 16) * _positions(kernel, N_POSITIONS) / _positions(kernel, 1)),
        float(kernel.in_elements),
        float(kernel.out_elements),
        float(kernel.weight_elements),
        float(curved * kernel.out_elements),
        float(sums * kernel.out_elements),
    )
    return first * N_MEASURES, np.array(values)


def stepped_macs(kernel: Kernel, step: int) -> int:
    """Multiply-accumulates if channels came only in steps."""
    if step == 1 or not kernel.n_macs:
        return kernel.n_macs
    n_in, n_out = kernel.n_in, kernel.n_out
    if kernel.groups > 1 and kernel.groups == n_in:
        return kernel.n_macs // n_out * _up(n_out, step)
    inner_in, inner_out = max(1, n_in // kernel.groups), max(1, n_out // kernel.groups)
    return kernel.n_macs // (inner_in * inner_out) * _up(inner_in, step) * _up(inner_out, step)


def _positions(kernel: Kernel, step: int) -> int:
    return _up(max(1, kernel.size[0] * kernel.size[1]), step)


def _up(count: int, step: int) -> int:
    return -(-count // step) * step


@lru_cache(maxsize=200_000)
def _place(kernel: Kernel) -> int:
    size = min(N_SIZES - 1, math.ceil(math.log2(max(1, kernel.size[0]))))
    return FAMILIES.index(family_of(kernel)) * N_SIZES + size
