"""Loop nests of stages that compute each element by itself: arithmetic, padding, concatenation, moves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tvm import ir, sym, tirx
from tvm.ir import Expr, Var

from latency_models.tvm_backend.schedule.expressions import (
    COMPARISONS,
    Read,
    children,
    coefficient,
    constant,
    instantiate,
    integer,
    is_branch,
    is_choice,
    rebuild,
    variables,
    walk,
)
from latency_models.tvm_backend.schedule.loops import loop, sequence, store, vectorized
from latency_models.tvm_backend.schedule.stages import Axis, Stage
from latency_models.tvm_backend.schedule.vectors import power_of_two_below

MAX_SEGMENTS = 8
N_UNROLLED = 4


@dataclass(frozen=True)
class Nest:
    """What a nest of a stage needs beside its axes.

    Attributes:
        stage: what is computed.
        values: of the axes that are no loops of the nest, and of variables found so far.
        reads: what stands for loads from intermediate buffers.
        target: buffer that is written.
        place: of an element in it, from the stage's own indices.
        n_lanes: of a vector.
    """

    stage: Stage
    values: Mapping[Var, Expr]
    reads: Mapping[Var, Read]
    target: Var
    place: Callable[[list[Expr]], list[Expr]] | None
    n_lanes: int


def pointwise(nest: Nest, axes: Sequence[Axis], starts: Mapping[Var, tuple[Expr, Expr]] | None = None) -> tirx.Stmt:
    """Loops over the axes, the last one in vectors.

    Loops are cut where a condition on their axis changes (the edge of a padded image, the seam of a concatenation), so
    that each piece is free of conditions; conditions on axes further out become branches outside the vectors.

    Args:
        nest: the stage and its surroundings.
        axes: loops to make, outermost first; other axes of the stage have their values in `nest`.
        starts: start and length of axes that are walked in part only.
    """
    return _level(nest, list(axes), dict(nest.values), nest.stage.value, dict(starts or {}))


def _level(
    nest: Nest, axes: list[Axis], values: dict[Var, Expr], value: Expr, starts: dict[Var, tuple[Expr, Expr]]
) -> tirx.Stmt:
    inner = {axis.variable for axis in axes}
    if is_branch(value):
        condition, if_true, if_false = children(value)
        outer_part, inner_part = _split(condition, inner)
        if outer_part is not None:
            kept = if_true if inner_part is None else tirx.if_then_else(inner_part, if_true, if_false)
            return tirx.IfThenElse(
                instantiate(outer_part, values, nest.reads),
                _level(nest, axes, values, kept, starts),
                _level(nest, axes, values, if_false, starts),
            )
    if not axes:
        return store(*_element(nest, values, value))
    axis, rest = axes[0], axes[1:]
    if axis.variable in starts:
        start, length = starts[axis.variable]

        def body(index: Expr) -> tirx.Stmt:
            return _level(nest, rest, {**values, axis.variable: start + index}, value, starts)

        return loop(axis.variable.name, length, body)
    return sequence(
        _piece(nest, axis, rest, values, _simplified(value, axis.variable, low, high), starts, low, high)
        for low, high in _segments(axis, value)
    )


def _piece(
    nest: Nest,
    axis: Axis,
    rest: list[Axis],
    values: dict[Var, Expr],
    value: Expr,
    starts: dict[Var, tuple[Expr, Expr]],
    low: int,
    high: int,
) -> tirx.Stmt:
    """The loops for low .. high - 1 of an axis."""
    if not rest:
        return _vectors(nest, axis, values, value, low, high)

    def body(index: Expr) -> tirx.Stmt:
        return _level(nest, rest, {**values, axis.variable: index + low}, value, starts)

    return loop(axis.variable.name, high - low, body)


def _vectors(nest: Nest, axis: Axis, values: dict[Var, Expr], value: Expr, low: int, high: int) -> tirx.Stmt:
    """Elements low .. high - 1 in whole vectors, the last one overlapping where they do not fit."""
    extent = high - low
    n_lanes = min(nest.n_lanes, power_of_two_below(extent))
    n_whole = extent // n_lanes

    def vector(start: Expr) -> tirx.Stmt:
        return vectorized(n_lanes, lambda lane: store(*_element(nest, {**values, axis.variable: start + lane}, value)))

    pieces = [loop(axis.variable.name, n_whole, lambda index: vector(index * n_lanes + low))]
    if n_whole * n_lanes < extent:
        pieces.append(vector(integer(high - n_lanes)))
    return sequence(pieces)


def _element(nest: Nest, values: Mapping[Var, Expr], value: Expr) -> tuple[Var, list[Expr], Expr]:
    indices = [instantiate(index, values, nest.reads) for index in nest.stage.indices]
    written = nest.place(indices) if nest.place is not None else indices
    return nest.target, written, instantiate(value, values, nest.reads)


def _split(condition: Expr, inner: set[Var]) -> tuple[Expr | None, Expr | None]:
    """A conjunction's part that is free of the inner axes, and the rest."""
    outer_part: Expr | None = None
    inner_part: Expr | None = None
    for term in _terms(condition):
        if variables(term) & inner:
            inner_part = term if inner_part is None else tirx.And(inner_part, term)
        else:
            outer_part = term if outer_part is None else tirx.And(outer_part, term)
    return outer_part, inner_part


def _terms(condition: Expr) -> list[Expr]:
    if type(condition) is tirx.And:
        return [*_terms(condition.a), *_terms(condition.b)]
    return [condition]


def _segments(axis: Axis, value: Expr) -> list[tuple[int, int]]:
    """The axis in pieces between the points where conditions on it alone change."""
    cuts = {0, axis.extent}
    for node in walk(value):
        if type(node) in COMPARISONS and variables(node) == {axis.variable}:
            cuts |= _change(node, axis)
    if len(cuts) > MAX_SEGMENTS + 1:
        return [(0, axis.extent)]
    ordered = sorted(cuts)
    return list(pairwise(ordered))


def _change(comparison: Expr, axis: Axis) -> set[int]:
    """Where the truth of a comparison that is linear in the axis changes."""
    a, b = children(comparison)
    factor_a, factor_b = coefficient(a, axis.variable), coefficient(b, axis.variable)
    if factor_a is None or factor_b is None or abs(factor_a - factor_b) != 1:
        return set()
    at_zero = constant(sym.Analyzer().simplify(instantiate(a - b, {axis.variable: integer(0)}, {})))
    if at_zero is None:
        return set()
    holds = COMPARISONS[type(comparison)]
    truth = [holds(at_zero + (factor_a - factor_b) * at, 0) for at in range(axis.extent)]
    return {at for at in range(1, axis.extent) if truth[at] != truth[at - 1]}


def _simplified(value: Expr, variable: Var, low: int, high: int) -> Expr:
    """The value without the conditions that hold or fail for the whole of low .. high - 1."""
    analyzer = sym.Analyzer()
    analyzer.bind(variable, ir.Range.from_min_extent(integer(low), integer(high - low)))

    def replace(node: Expr) -> Expr | None:
        if not is_choice(node):
            return None
        condition, if_true, if_false = children(node)
        kept = []
        for term in _terms(condition):
            known = analyzer.simplify(term) if variables(term) == {variable} else term
            if isinstance(known, tirx.IntImm):
                if not known.value:
                    return rebuild(if_false, replace)
            else:
                kept.append(term)
        if not kept:
            return rebuild(if_true, replace)
        joined = kept[0]
        for term in kept[1:]:
            joined = tirx.And(joined, term)
        branches = rebuild(if_true, replace), rebuild(if_false, replace)
        return tirx.Select(joined, *branches) if type(node) is tirx.Select else tirx.if_then_else(joined, *branches)

    return rebuild(value, replace)
