"""A fused kernel's TIR as a list of stages: what is computed for which indices."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from tvm import s_tir, tirx
from tvm.ir import Expr, Var

from latency_models.errors import LatencyError
from latency_models.tvm_backend.schedule.expressions import constant, instantiate, integer, is_load, loads, walk

Combine = Literal["add", "mul", "max", "min"]
COMBINERS: dict[type, Combine] = {tirx.Add: "add", tirx.Mul: "mul", tirx.Max: "max", tirx.Min: "min"}
COMBINED: dict[Combine, Callable[[Expr, Expr], Expr]] = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "max": tirx.max,
    "min": tirx.min,
}


@dataclass(frozen=True)
class Axis:
    """A loop over 0 .. extent - 1."""

    variable: Var
    extent: int


@dataclass(frozen=True)
class Stage:
    """One loop nest: `buffer[indices] = value` over the axes, or, with reduction axes, the combination of all values.

    Attributes:
        name: of the block, for messages.
        spatial: axes of the output, in the order of the buffer's dimensions; those of extent 1 are left out.
        reduction: axes that are combined over, outermost first; those of extent 1 are left out.
        buffer: what is written.
        indices: where, in terms of the spatial axes.
        value: of one element, or of one term of the reduction.
        combine: how terms are combined; None where nothing is reduced.
        init: what the combination starts from; None where nothing is reduced.
    """

    name: str
    spatial: tuple[Axis, ...]
    reduction: tuple[Axis, ...]
    buffer: Var
    indices: tuple[Expr, ...]
    value: Expr
    combine: Combine | None = None
    init: Expr | None = None

    @property
    def dtype(self) -> str:
        """Of the elements written."""
        return str(self.buffer.ty.dtype)

    @property
    def n_points(self) -> int:
        """Values computed."""
        count = 1
        for axis in (*self.spatial, *self.reduction):
            count *= axis.extent
        return count

    def accesses(self) -> Iterator[tuple[Var, tuple[Expr, ...]]]:
        """Every buffer read or written, and where."""
        yield self.buffer, self.indices
        for load in loads(self.value):
            yield load.source, tuple(load.indices)


def shape_of(buffer: Var) -> tuple[int, ...]:
    """Dimensions of a buffer.

    Raises:
        LatencyError: a dimension is not a constant.
    """
    dimensions = [constant(dimension) for dimension in buffer.ty.shape]
    if None in dimensions:
        raise LatencyError(
            f"Buffer {buffer} has the shape {list(buffer.ty.shape)}, which is not constant.",
            "Fix every dimension of the network's inputs before compiling.",
        )
    return tuple(dimension for dimension in dimensions if dimension is not None)


def refusal(kernel: str, why: str) -> LatencyError:
    """The error for a kernel that has no schedule."""
    return LatencyError(
        f"Kernel {kernel} cannot be scheduled for a CPU: {why}.",
        "Replace the operator in the network, or measure it with ONNX Runtime.",
    )


def stages_of(func: tirx.PrimFunc, kernel: str) -> list[Stage]:
    """The stages of a kernel in order of execution.

    Raises:
        LatencyError: it is not made of plain loop nests, or a shape is not constant.
    """
    if not isinstance(func.body, s_tir.SBlockRealize):
        raise refusal(kernel, "it is not made of blocks (sorting, scanning and the like)")
    body = func.body.block.body
    nests = list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]
    return [_stage(nest, kernel) for nest in nests]


def _stage(nest: tirx.Stmt, kernel: str) -> Stage:
    while isinstance(nest, tirx.For):
        nest = nest.body
    if not isinstance(nest, s_tir.SBlockRealize):
        raise refusal(kernel, f"it holds a {type(nest).__name__} where a block is expected")
    block = nest.block
    if not isinstance(block.body, tirx.BufferStore):
        raise refusal(kernel, f"block {block.name_hint} does more than one store (an index of a maximum, a scan)")
    spatial, reduction, units = [], [], {}
    for iteration in block.iter_vars:
        extent, start = constant(iteration.dom.extent), constant(iteration.dom.min)
        if extent is None or start != 0:
            raise refusal(kernel, f"block {block.name_hint} loops over {iteration.dom}, which is not constant")
        if extent == 1:
            units[iteration.var] = integer(0)
        elif iteration.iter_type == tirx.IterVar.CommReduce:
            reduction.append(Axis(iteration.var, extent))
        elif iteration.iter_type == tirx.IterVar.DataPar:
            spatial.append(Axis(iteration.var, extent))
        else:
            raise refusal(kernel, f"block {block.name_hint} loops in an order that must be kept")
    store = block.body
    indices = tuple(instantiate(index, units, {}) for index in store.indices)
    value = instantiate(store.value, units, {})
    combine, init = None, None
    if block.init is not None:
        kind, term = _term(store.buffer, value, block.name_hint, kernel)
        if reduction:
            combine, init, value = kind, block.init.value, term
        else:  # over axes of extent 1 alone: one term
            value = COMBINED[kind](block.init.value, term)
    elif any(load.source.same_as(store.buffer) for load in loads(value)):
        raise refusal(kernel, f"block {block.name_hint} reads what it writes")
    return Stage(block.name_hint, tuple(spatial), tuple(reduction), store.buffer, indices, value, combine, init)


def _term(buffer: Var, value: Expr, block: str, kernel: str) -> tuple[Combine, Expr]:
    """How a reduction combines its terms, and one term."""
    kind = COMBINERS.get(type(value))
    if kind is not None:
        for own, term in ((value.a, value.b), (value.b, value.a)):
            reads_itself = is_load(own) and own.source.same_as(buffer)
            if reads_itself and not any(is_load(node) and node.source.same_as(buffer) for node in walk(term)):
                return kind, term
    raise refusal(kernel, f"block {block} reduces by something other than a sum, product, maximum or minimum")
