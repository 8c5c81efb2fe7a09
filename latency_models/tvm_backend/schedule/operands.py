"""Loads of an expression that is written out many times: each element is read once, from an address counted from one
base per tile.

LLVM would find the same by itself, but generating, simplifying and optimising what it then throws away took half of
the time that preparing a network takes.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr, Var

from latency_models.tvm_backend.schedule.expressions import (
    Read,
    coefficient,
    instantiate,
    integer,
    is_choice,
    is_load,
    operator,
    rebuild,
    variables,
    walk,
)
from latency_models.tvm_backend.schedule.stages import shape_of


@dataclass(frozen=True)
class Operand:
    """A load whose address is linear in the axes.

    Attributes:
        symbol: what stands for it in the expression.
        buffer: that is read.
        indices: where, in terms of the axes.
        strides: elements between neighbours along each axis.
    """

    symbol: Var
    buffer: Var
    indices: tuple[Expr, ...]
    strides: Mapping[Var, int]

    def address(self, values: Mapping[Var, Expr]) -> Expr:
        """Elements from the buffer's start."""
        total: Expr = integer(0)
        for stride, index in zip(_strides(self.buffer), self.indices, strict=True):
            total = total + instantiate(index, values, {}) * stride
        return total


@dataclass(frozen=True)
class Terms:
    """An expression with symbols in place of its linear loads.

    Attributes:
        value: the expression.
        operands: the loads.
        is_shared: whether a load that several places need may be made once. Not where something is called: TVM takes
            calls that it knows no vectors for lane by lane, and they would look for single elements of what was loaded.
    """

    value: Expr
    operands: tuple[Operand, ...]
    is_shared: bool


def terms_of(value: Expr, axes: Sequence[Var], reads: Mapping[Var, Read]) -> Terms:
    """An expression with its loads set apart.

    Args:
        value: of one element.
        axes: that will differ by constants between the places that it is written out for.
        reads: what stands for loads from intermediate buffers.
    """
    if any(is_choice(node) or type(node) is tirx.Let for node in walk(value)):
        return Terms(value, (), False)  # a load may be valid on one side only, or depend on what is bound
    operands: list[Operand] = []

    def symbol(node: Expr) -> Expr | None:
        if not is_load(node):
            return None
        operand = operand_of(instantiate(node, {}, reads), axes)
        if operand is None:
            return node
        operands.append(operand)
        return operand.symbol

    is_shared = not any(operator(node) for node in walk(value))
    return Terms(rebuild(value, symbol), tuple(operands), is_shared)


def operand_of(access: Expr, axes: Sequence[Var]) -> Operand | None:
    """A load, or what is stored to written as one, where its address is linear in the axes."""
    if not is_load(access):
        return None
    strides = dict.fromkeys(axes, 0)
    for stride, index in zip(_strides(access.source), access.indices, strict=True):
        for axis in axes:
            factor = coefficient(index, axis)
            if factor is None:
                return None
            strides[axis] += factor * stride
    return Operand(Var("operand", access.ty), access.source, tuple(access.indices), strides)


def _strides(buffer: Var) -> list[int]:
    strides = [1]
    for size in reversed(shape_of(buffer)[1:]):
        strides.insert(0, strides[0] * size)
    return strides


@dataclass(frozen=True)
class Cursor:
    """Where an operand lies when its axes are at their start; elements near it are a constant away.

    Attributes:
        operand: what is counted in.
        base: variable that holds the address.
        bind: statement that computes it.
    """

    operand: Operand
    base: Var
    bind: tirx.Stmt

    def distance(self, offsets: Mapping[Var, int]) -> int:
        """Elements from the base to the place that is these offsets away along the axes."""
        return sum(self.operand.strides[axis] * offset for axis, offset in offsets.items())

    def indices(self, distance: int, vector: Var, lane: Expr) -> list[Expr]:
        """Of the element: all in the last dimension, beyond its size as if the buffer were flat."""
        address = self.base + distance
        if self.operand.strides[vector]:
            address = address + lane * self.operand.strides[vector]
        return [*[integer(0)] * (len(self.operand.indices) - 1), address]


def cursor_of(operand: Operand, start: Mapping[Var, Expr]) -> Cursor:
    """The operand's place where the axes have these values."""
    base = Var("base", "int64")
    return Cursor(operand, base, tirx.Bind(base, operand.address(start)))


@dataclass(frozen=True)
class Copies:
    """An expression written out for places that differ by constants.

    Attributes:
        bases: statements to put in front of the vector loop.
        terms: the expression.
        start: values of its axes where offsets are counted from.
        reads: what stands for loads from intermediate buffers, where they are not linear.
        vector: axis that is walked in lanes.
    """

    bases: list[tirx.Stmt]
    terms: Terms
    start: Mapping[Var, Expr]
    reads: Mapping[Var, Read]
    vector: Var
    _cursors: list[Cursor]

    def written_out(
        self, places: Sequence[Mapping[Var, int]], lane: Expr, others: Sequence[Mapping[Var, Expr]]
    ) -> Iterator[tuple[list[tirx.Stmt], Expr]]:
        """For each place the statements that load what later places need too, and the expression's value.

        Args:
            places: offsets of the axes from `start`.
            lane: the loop over the vector.
            others: values of other symbols in the expression, for each place.
        """
        keys = [[(i, cursor.distance(offsets)) for i, cursor in enumerate(self._cursors)] for offsets in places]
        n_uses = Counter(key for one in keys for key in one)
        shared: dict[tuple[int, int], Expr] = {}
        used = variables(self.terms.value) & set(self.start)
        for offsets, own, other in zip(places, keys, others, strict=True):
            new: list[tirx.Stmt] = []
            values = dict(other)
            for cursor, key in zip(self._cursors, own, strict=True):
                value = shared.get(key)
                if value is None:
                    value = tirx.BufferLoad(cursor.operand.buffer, cursor.indices(key[1], self.vector, lane))
                    if self.terms.is_shared and n_uses[key] > 1:
                        loaded = Var("loaded", cursor.operand.symbol.ty)
                        new.append(tirx.Bind(loaded, value))
                        shared[key] = value = loaded
                values[cursor.operand.symbol] = value
            values.update({axis: self._at(axis, offsets, lane) for axis in used})
            yield new, instantiate(self.terms.value, values, self.reads)

    def _at(self, axis: Var, offsets: Mapping[Var, int], lane: Expr) -> Expr:
        value = self.start[axis] + offsets.get(axis, 0)
        return value + lane if axis.same_as(self.vector) else value


def copies_of(terms: Terms, start: Mapping[Var, Expr], reads: Mapping[Var, Read], vector: Var) -> Copies:
    """Prepares to write an expression out near a place; arguments as `Copies` says."""
    cursors = [cursor_of(operand, start) for operand in terms.operands]
    return Copies([cursor.bind for cursor in cursors], terms, start, reads, vector, cursors)
