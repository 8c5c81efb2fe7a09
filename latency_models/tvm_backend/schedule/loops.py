"""Making loops, vector loops and local buffers."""

from collections.abc import Callable, Iterable, Sequence

from tvm import tirx
from tvm.ir import Expr, Var

from latency_models.tvm_backend.schedule.expressions import constant, integer

Body = Callable[[Expr], tirx.Stmt]


def sequence(statements: Iterable[tirx.Stmt]) -> tirx.Stmt:
    """Statements one after the other; at least one."""
    flat: list[tirx.Stmt] = []
    for statement in statements:
        flat += list(statement.seq) if isinstance(statement, tirx.SeqStmt) else [statement]
    return flat[0] if len(flat) == 1 else tirx.SeqStmt(flat)


def loop(name: str, extent: int | Expr, body: Body, kind: tirx.ForKind = tirx.ForKind.SERIAL) -> tirx.Stmt:
    """A loop over 0 .. extent - 1, none where the extent is 1."""
    if isinstance(extent, int):
        extent = integer(extent)
    if constant(extent) == 1:
        return body(integer(0))
    variable = Var(name, "int64")
    return tirx.For(variable, integer(0), extent, kind, body(variable))


def nested(names: Sequence[str], extents: Sequence[int], body: Callable[[list[Expr]], tirx.Stmt]) -> tirx.Stmt:
    """Loops in one another, the first outermost; without any, the body alone."""

    def level(depth: int, indices: list[Expr]) -> tirx.Stmt:
        if depth == len(extents):
            return body(indices)
        return loop(names[depth], extents[depth], lambda index: level(depth + 1, [*indices, index]))

    return level(0, [])


def vectorized(n_lanes: int, body: Body) -> tirx.Stmt:
    """The body for all lanes at once; it is given the lane."""
    return loop("lane", n_lanes, body, tirx.ForKind.VECTORIZED)


def local(name: str, shape: Sequence[int], dtype: str) -> Var:
    """A buffer of the kernel's own; `allocated` declares it.

    TVM puts small ones on the stack, and so LLVM into registers, only where their scope is its default: those of scope
    `local` come from the heap.
    """
    return tirx.decl_buffer([integer(size) for size in shape or (1,)], dtype, name=name)


def allocated(buffers: Sequence[Var], *statements: tirx.Stmt) -> tirx.Stmt:
    """Statements that may use the buffers."""
    return sequence([*(tirx.AllocBuffer(buffer) for buffer in buffers), *statements])


def store(buffer: Var, indices: Sequence[Expr], value: Expr) -> tirx.Stmt:
    """One element written."""
    return tirx.BufferStore(buffer, value, list(indices) or [integer(0)])
