"""Reading and rebuilding TIR expressions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tvm import ir, tirx
from tvm.ir import Expr, Var

from latency_models.errors import LatencyError

Read = Callable[[list[Expr]], Expr]
"""What stands for a load from a buffer at these indices."""

COMPARISONS = (tirx.LT, tirx.LE, tirx.GT, tirx.GE, tirx.EQ, tirx.NE)
FOLDED: dict[type, Callable[[Any, Any], Expr]] = {
    tirx.Add: lambda a, b: a + b,
    tirx.Sub: lambda a, b: a - b,
    tirx.Mul: lambda a, b: a * b,
    tirx.FloorDiv: tirx.floordiv,
    tirx.FloorMod: tirx.floormod,
    tirx.Min: tirx.min,
    tirx.Max: tirx.max,
    tirx.LT: lambda a, b: a < b,
    tirx.LE: lambda a, b: a <= b,
    tirx.GT: lambda a, b: a > b,
    tirx.GE: lambda a, b: a >= b,
}
"""Operations whose constructors fold constants."""
BITWISE = (tirx.LShift, tirx.RShift, tirx.BitwiseAnd, tirx.BitwiseOr, tirx.BitwiseXor)
BINARY = (*FOLDED, *BITWISE, tirx.Div, tirx.Mod, tirx.EQ, tirx.NE, tirx.And, tirx.Or)
LEAVES = (Var, tirx.IntImm, tirx.FloatImm, ir.StringImm)


def integer(value: int) -> Expr:
    """A constant index."""
    return tirx.IntImm("int64", value)


def constant(expr: Expr) -> int | None:
    """The value of an integer constant, None for anything else."""
    return int(expr.value) if isinstance(expr, tirx.IntImm) else None


def is_load(expr: Expr) -> bool:
    """Whether it reads an element of a buffer."""
    return isinstance(expr, ir.TensorLoad)


def operator(expr: Expr) -> str:
    """Name of the operator that is called, e.g. `tirx.exp`; empty for anything that is not such a call."""
    return str(expr.op.name) if isinstance(expr, ir.Call) and isinstance(expr.op, ir.Op) else ""


def children(expr: Expr) -> Sequence[Expr]:
    """The expressions it is made of."""
    if isinstance(expr, BINARY):
        return (expr.a, expr.b)
    if is_load(expr):
        return tuple(expr.indices)
    if isinstance(expr, ir.Call):
        return tuple(argument for argument in expr.args if isinstance(argument, Expr))
    if isinstance(expr, tirx.Cast):
        return (expr.value,)
    if isinstance(expr, tirx.Not):
        return (expr.a,)
    if isinstance(expr, tirx.Select):
        return (expr.condition, expr.true_value, expr.false_value)
    if isinstance(expr, tirx.Let):
        return (expr.value, expr.body)
    if isinstance(expr, tirx.BitwiseNot):
        return (expr.a,)
    if isinstance(expr, LEAVES):
        return ()
    raise LatencyError(
        f"A kernel holds an expression of the kind {type(expr).__name__}, which the CPU schedules do not know.",
        "Replace the operator in the network, or measure it with ONNX Runtime.",
    )


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and everything in it, outermost first."""
    yield expr
    for child in children(expr):
        yield from walk(child)


def loads(expr: Expr) -> list[Any]:
    """Every load from a buffer in it."""
    return [node for node in walk(expr) if is_load(node)]


def variables(expr: Expr) -> set[Var]:
    """The index variables in it."""
    return {node for node in walk(expr) if isinstance(node, Var) and not tirx.buffer.is_buffer_var(node)}


def rebuild(expr: Expr, replace: Callable[[Expr], Expr | None]) -> Expr:
    """The expression with every part for which `replace` gives another (outermost first) replaced."""
    replaced = replace(expr)
    if replaced is not None:
        return replaced
    if isinstance(expr, BINARY):
        a, b = rebuild(expr.a, replace), rebuild(expr.b, replace)
        kind = type(expr)
        return FOLDED[kind](a, b) if kind in FOLDED else kind(a, b)
    if is_load(expr):
        return tirx.BufferLoad(expr.source, [rebuild(index, replace) for index in expr.indices])
    if isinstance(expr, ir.Call):
        arguments = [rebuild(one, replace) if isinstance(one, Expr) else one for one in expr.args]
        return ir.Call(expr.op, arguments, attrs=expr.attrs, ret_ty=expr.ty)
    if isinstance(expr, tirx.Cast):
        return tirx.Cast(expr.ty, rebuild(expr.value, replace))
    if isinstance(expr, (tirx.Not, tirx.BitwiseNot)):
        return type(expr)(rebuild(expr.a, replace))
    if isinstance(expr, tirx.Select):
        return tirx.Select(*(rebuild(one, replace) for one in children(expr)))
    if isinstance(expr, tirx.Let):
        return tirx.Let(expr.var, rebuild(expr.value, replace), rebuild(expr.body, replace))
    return expr


def instantiate(expr: Expr, values: Mapping[Var, Expr], reads: Mapping[Var, Read]) -> Expr:
    """The expression with variables replaced by values, and loads from some buffers by what stands for them."""

    def replace(node: Expr) -> Expr | None:
        if isinstance(node, Var):
            return values.get(node, node)
        if isinstance(node, tirx.Let):  # a variable may be bound only once in a function
            fresh = Var(node.var.name, node.var.ty)
            body = instantiate(node.body, {**values, node.var: fresh}, reads)
            return tirx.Let(fresh, instantiate(node.value, values, reads), body)
        if is_load(node) and node.source in reads:
            return reads[node.source]([instantiate(index, values, reads) for index in node.indices])
        return None

    return rebuild(expr, replace)


def coefficient(expr: Expr, variable: Var) -> int | None:
    """What the variable is multiplied by where the expression is linear in it; None where it is not."""
    if isinstance(expr, Var):
        return 1 if expr.same_as(variable) else 0
    if isinstance(expr, (tirx.Add, tirx.Sub)):
        a, b = coefficient(expr.a, variable), coefficient(expr.b, variable)
        if a is None or b is None:
            return None
        return a + b if isinstance(expr, tirx.Add) else a - b
    if isinstance(expr, tirx.Mul):
        for one, other in ((expr.a, expr.b), (expr.b, expr.a)):
            factor = constant(other)
            if factor is not None:
                inner = coefficient(one, variable)
                return None if inner is None else inner * factor
    return 0 if variable not in variables(expr) else None
