"""Reading and rebuilding TIR expressions.

Nodes are told apart by their exact type: TVM's classes are abstract base classes, for which `isinstance` is so slow
that it took a quarter of the time that preparing a network takes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from tvm import ir, tirx
from tvm.ir import Expr, Var

from latency_models.errors import LatencyError

Read = Callable[[list[Expr]], Expr]
"""What stands for a load from a buffer at these indices."""

IF_THEN_ELSE = ir.Op.get("prim.if_then_else")
COMPARISONS: dict[type, Callable[[int, int], bool]] = {
    tirx.LT: lt,
    tirx.LE: le,
    tirx.GT: gt,
    tirx.GE: ge,
    tirx.EQ: eq,
    tirx.NE: ne,
}
"""What a comparison of two integers says."""
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
BINARY = frozenset((*FOLDED, *BITWISE, tirx.Div, tirx.Mod, tirx.EQ, tirx.NE, tirx.And, tirx.Or))
CHILDREN: dict[type, Callable[[Any], Sequence[Expr]]] = {
    **dict.fromkeys(BINARY, lambda expr: (expr.a, expr.b)),
    **dict.fromkeys((tirx.Not, tirx.BitwiseNot), lambda expr: (expr.a,)),
    **dict.fromkeys((Var, tirx.IntImm, tirx.FloatImm, ir.StringImm), lambda expr: ()),
    ir.TensorLoad: lambda expr: tuple(expr.indices),
    ir.Call: lambda expr: tuple(argument for argument in expr.args if isinstance(argument, Expr)),
    tirx.Cast: lambda expr: (expr.value,),
    tirx.Select: lambda expr: (expr.condition, expr.true_value, expr.false_value),
    tirx.Let: lambda expr: (expr.value, expr.body),
}
"""What an expression of each kind is made of."""


def integer(value: int) -> Expr:
    """A constant index."""
    return tirx.IntImm("int64", value)


def constant(expr: Expr) -> int | None:
    """The value of an integer constant, None for anything else."""
    return int(expr.value) if type(expr) is tirx.IntImm else None


def is_load(expr: Expr) -> bool:
    """Whether it reads an element of a buffer."""
    return type(expr) is ir.TensorLoad


def operator(expr: Expr) -> str:
    """Name of the operator that is called, e.g. `tirx.exp`; empty for anything that is not such a call."""
    return str(expr.op.name) if type(expr) is ir.Call and type(expr.op) is ir.Op else ""


def is_choice(expr: Expr) -> bool:
    """Whether it chooses between two values: padding, concatenation; its children are a condition and the values."""
    return type(expr) is tirx.Select or is_branch(expr)


def is_branch(expr: Expr) -> bool:
    """Whether it is a choice that computes only the value chosen."""
    return type(expr) is ir.Call and expr.op.same_as(IF_THEN_ELSE)


def children(expr: Expr) -> Sequence[Expr]:
    """The expressions it is made of."""
    known = CHILDREN.get(type(expr))
    if known is not None:
        return known(expr)
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
    return {node for node in walk(expr) if type(node) is Var and not tirx.buffer.is_buffer_var(node)}


def rebuild(expr: Expr, replace: Callable[[Expr], Expr | None]) -> Expr:
    """The expression with every part for which `replace` gives another (outermost first) replaced."""
    replaced = replace(expr)
    if replaced is not None:
        return replaced
    kind: Any = type(expr)
    if kind in BINARY:
        a, b = rebuild(expr.a, replace), rebuild(expr.b, replace)
        return FOLDED[kind](a, b) if kind in FOLDED else kind(a, b)
    if kind is ir.TensorLoad:
        return tirx.BufferLoad(expr.source, [rebuild(index, replace) for index in expr.indices])
    if kind is ir.Call:
        arguments = [rebuild(one, replace) if isinstance(one, Expr) else one for one in expr.args]
        return ir.Call(expr.op, arguments, attrs=expr.attrs, ret_ty=expr.ty)
    if kind is tirx.Cast:
        return tirx.Cast(expr.ty, rebuild(expr.value, replace))
    if kind in (tirx.Not, tirx.BitwiseNot):
        return kind(rebuild(expr.a, replace))
    if kind is tirx.Select:
        return tirx.Select(*(rebuild(one, replace) for one in children(expr)))
    if kind is tirx.Let:
        return tirx.Let(expr.var, rebuild(expr.value, replace), rebuild(expr.body, replace))
    return expr


def instantiate(expr: Expr, values: Mapping[Var, Expr], reads: Mapping[Var, Read]) -> Expr:
    """The expression with variables replaced by values, and loads from some buffers by what stands for them."""

    def replace(node: Expr) -> Expr | None:
        if type(node) is Var:
            return values.get(node, node)
        if type(node) is tirx.Let:  # a variable may be bound only once in a function
            fresh = Var(node.var.name, node.var.ty)
            body = instantiate(node.body, {**values, node.var: fresh}, reads)
            return tirx.Let(fresh, instantiate(node.value, values, reads), body)
        if is_load(node) and node.source in reads:
            return reads[node.source]([instantiate(index, values, reads) for index in node.indices])
        return None

    return rebuild(expr, replace)


def coefficient(expr: Expr, variable: Var) -> int | None:
    """What the variable is multiplied by where the expression is linear in it; None where it is not."""
    if type(expr) is Var:
        return 1 if expr.same_as(variable) else 0
    if type(expr) in (tirx.Add, tirx.Sub):
        a, b = coefficient(expr.a, variable), coefficient(expr.b, variable)
        if a is None or b is None:
            return None
        return a + b if type(expr) is tirx.Add else a - b
    if type(expr) is tirx.Mul:
        for one, other in ((expr.a, expr.b), (expr.b, expr.a)):
            factor = constant(other)
            if factor is not None:
                inner = coefficient(one, variable)
                return None if inner is None else inner * factor
    return 0 if variable not in variables(expr) else None
