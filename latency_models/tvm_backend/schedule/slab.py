"""The part of a padded or packed operand that a chunk of rows needs, made in a buffer of its own."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr, Var

from latency_models.tvm_backend.schedule.expressions import Read, coefficient, instantiate, integer, loads, variables
from latency_models.tvm_backend.schedule.loops import local
from latency_models.tvm_backend.schedule.pointwise import Nest, pointwise
from latency_models.tvm_backend.schedule.stages import Axis, Stage, shape_of
from latency_models.tvm_backend.schedule.vectors import DTYPE_BITS


@dataclass(frozen=True)
class Slab:
    """A piece of a stage's result.

    Attributes:
        stage: what computes the elements.
        buffer: of the piece.
        starts: of the piece within the result, in every dimension.
        lengths: elements of the piece in every dimension, clipped to the result.
        values: of variables in the stage that are not its axes.
    """

    stage: Stage
    buffer: Var
    starts: tuple[Expr, ...]
    lengths: tuple[Expr, ...]
    values: Mapping[Var, Expr]

    @property
    def size_bytes(self) -> float:
        """Of the buffer."""
        return math.prod(shape_of(self.buffer)) * DTYPE_BITS.get(self.stage.dtype, 32) / 8

    def place(self, indices: list[Expr]) -> list[Expr]:
        """Where an element of the result lies in the piece."""
        return [index - start for index, start in zip(indices, self.starts, strict=True)]

    def read(self, indices: list[Expr]) -> Expr:
        """An element of the result, read from the piece."""
        return tirx.BufferLoad(self.buffer, self.place(indices))

    def fill(self, n_lanes: int, reads: Mapping[Var, Read]) -> tirx.Stmt:
        """Computes the piece."""
        dimension_of = {
            index: dimension for dimension, index in enumerate(self.stage.indices) if isinstance(index, Var)
        }
        starts = {}
        full = shape_of(self.stage.buffer)
        for axis in self.stage.spatial:
            dimension = dimension_of[axis.variable]
            start, length = self.starts[dimension], self.lengths[dimension]
            if not (isinstance(length, tirx.IntImm) and int(length.value) == full[dimension]):
                starts[axis.variable] = (start, length)
        nest = Nest(self.stage, self.values, reads, self.buffer, self.place, n_lanes)
        return pointwise(nest, self.stage.spatial, starts)


def slab_of(helper: Stage, user: Stage, at: Mapping[Var, Expr], high: Axis | None, n_rows: int) -> Slab:
    """The piece of a helper's result that `n_rows` rows of its user need.

    Args:
        helper: element-wise stage.
        user: reduction that reads its result.
        at: values of the user's outer axes, and of `high` the first row.
        high: axis of the rows.
        n_rows: how many.
    """
    accesses = [list(load.indices) for load in loads(user.value) if load.source.same_as(helper.buffer)]
    spans = {axis.variable: axis.extent for axis in (*user.spatial, *user.reduction)}
    spans.update(dict.fromkeys(at, 1))
    if high is not None:
        spans[high.variable] = n_rows
    starts, lengths, sizes = [], [], []
    for dimension, full in enumerate(shape_of(helper.buffer)):
        indices = [access[dimension] for access in accesses]
        reach = _reach(indices[0], spans, at) if len(indices) == 1 else None
        if reach is None or reach >= full:
            starts.append(integer(0))
            lengths.append(integer(full))
            sizes.append(full)
            continue
        zeros = {variable: integer(0) for variable in spans}
        start = instantiate(indices[0], {**zeros, **at}, {})
        starts.append(start)
        lengths.append(integer(1) if reach == 1 else tirx.min(integer(reach), integer(full) - start))
        sizes.append(reach)
    return Slab(helper, local(helper.name, sizes, helper.dtype), tuple(starts), tuple(lengths), at)


def _reach(index: Expr, spans: Mapping[Var, int], at: Mapping[Var, Expr]) -> int | None:
    """Elements from the first to the last that an index takes while its variables run through their spans; None where
    that is unknown, or the index depends on no variable that is held.
    """
    used = variables(index)
    if not used & set(at):
        return None
    reach = 1
    for variable in used:
        factor = coefficient(index, variable)
        if factor is None or factor < 0:
            return None
        reach += factor * (spans[variable] - 1)
    return reach
