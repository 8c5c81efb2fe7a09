"""Operators that work on every element alone: activations, arithmetic, casts, choices."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from tvm import relax, te, tirx, topi

from latency_models.tvm_backend import functions
from latency_models.tvm_backend.call import Call, Operator, padded_last
from latency_models.tvm_backend.emitter import Emitter, Work
from latency_models.tvm_backend.graph import Array
from latency_models.tvm_backend.tensor import Tensor, Value, single

ARITHMETIC: dict[str, Callable[..., te.Tensor]] = {
    "Add": topi.add,
    "Sub": topi.subtract,
    "Mul": topi.multiply,
    "Div": topi.divide,
    "Pow": functions.power,
    "Min": topi.minimum,
    "Max": topi.maximum,
    "PRelu": functions.prelu,
    "Equal": topi.equal,
    "Greater": topi.greater,
    "Less": topi.less,
}
UNSAFE = ("Div", "Pow")
"""Operators that could make NaN of the lanes beyond a tensor's own, which zero weights would not silence."""


def unary(operator: str, function: Callable[..., te.Tensor], *parameters: Any, whole: bool = False) -> Operator:
    """An operator with one input; `whole` where it is not finite for every finite number."""

    def emit(call: Call) -> list[Value]:
        return [_mapped(call.emitter, operator, function, call.tensor(0), parameters, whole)]

    return emit


def _mapped(
    emitter: Emitter,
    operator: str,
    function: Callable[..., te.Tensor],
    x: Tensor,
    parameters: tuple[Any, ...],
    whole: bool = False,
) -> Tensor:
    x = emitter.whole(x) if whole or x.features is not None else x
    work = Work(operator, int(np.prod(x.shape)))
    expr = emitter.compute(operator.lower(), work, function, [x.expr], *parameters)
    return Tensor(expr, x.shape, str(expr.ty.dtype), x.order, x.width)


def clip(call: Call) -> list[Value]:
    """Bounds as inputs (from opset 11) or attributes; either may be missing."""
    low, high = call.attribute("min", None), call.attribute("max", None)
    if call.has(1):
        low = single(call.constant(1))
    if call.has(2):
        high = single(call.constant(2))
    bounds = (None if low is None else float(low), None if high is None else float(high))
    return [_mapped(call.emitter, "Clip", functions.clip, call.tensor(0), bounds)]


def with_alpha(operator: str, function: Callable[..., te.Tensor], **defaults: float) -> Operator:
    """An activation whose attributes are its parameters, in this order."""

    def emit(call: Call) -> list[Value]:
        parameters = tuple(float(call.attribute(name, default)) for name, default in defaults.items())
        return [_mapped(call.emitter, operator, function, call.tensor(0), parameters)]

    return emit


def gelu(call: Call) -> list[Value]:
    """Gaussian error linear unit, exact or by tanh (opset 20)."""
    by_tanh = call.attribute("approximate", "none") == "tanh"
    function = functions.gelu_tanh if by_tanh else functions.gelu
    return [_mapped(call.emitter, "Gelu", function, call.tensor(0), ())]


def cast(call: Call) -> list[Value]:
    """Another type; the same one is left out."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(call.attribute("to", onnx.TensorProto.FLOAT)).name
    x = call.tensor(0)
    return [x if x.dtype == dtype else _mapped(call.emitter, "Cast", topi.cast, x, (dtype,))]


def identity(call: Call) -> list[Value]:
    """The input itself."""
    return [call.value(0)]


def arithmetic(call: Call) -> list[Value]:
    """Operators with two inputs (Min and Max: any number), broadcast as in numpy."""
    result = call.value(0)
    if len(call.inputs) == 1:
        return [result]
    for index in range(1, len(call.inputs)):
        result = broadcast(call.emitter, call.node.operator, result, call.value(index))
    return [result]


def broadcast(emitter: Emitter, operator: str, a: Value, b: Value) -> Tensor:
    """`operator` of two values, one of them computed, in the layout of the larger tensor."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        b = emitter.tensor(emitter.constant(b), b.shape)
    whole = operator in UNSAFE and not (isinstance(b, np.ndarray) and operator == "Div")
    a, b = (_ready(emitter, value, whole) for value in (a, b))
    shape = np.broadcast_shapes(a.shape, b.shape)
    work = Work(operator, int(np.prod(shape)))
    number = single(b) if isinstance(a, Tensor) and len(b.shape) <= len(a.shape) else None
    if number is not None and isinstance(a, Tensor):
        expr = emitter.compute(operator.lower(), work, _right, [a.expr], ARITHMETIC[operator], number)
        return Tensor(expr, shape, str(expr.ty.dtype), a.order, a.width)
    number = single(a) if isinstance(b, Tensor) and len(a.shape) <= len(b.shape) else None
    if number is not None and isinstance(b, Tensor):
        expr = emitter.compute(operator.lower(), work, _left, [b.expr], ARITHMETIC[operator], number)
        return Tensor(expr, shape, str(expr.ty.dtype), b.order, b.width)
    order, width = _common_layout(a, b, shape)
    fills = (0.0, 1.0 if operator in UNSAFE else 0.0)
    operands = [_operand(emitter, value, shape, order, width, fill) for value, fill in zip((a, b), fills, strict=True)]
    expr = emitter.compute(operator.lower(), work, ARITHMETIC[operator], operands)
    return emitter.tensor(expr, shape, order)


def _ready(emitter: Emitter, value: Value, whole: bool) -> Value:
    if isinstance(value, Tensor) and (whole or value.features is not None):
        return emitter.whole(value)
    return value


def _right(x: te.Tensor, function: Callable[..., te.Tensor], number: float) -> te.Tensor:
    return function(x, tirx.const(number, x.dtype))


def _left(x: te.Tensor, function: Callable[..., te.Tensor], number: float) -> te.Tensor:
    return function(tirx.const(number, x.dtype), x)


def _common_layout(a: Value, b: Value, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """The order and width of the result: the larger tensor's, if its lanes go through all of the last axis."""
    tensors = [value for value in (a, b) if isinstance(value, Tensor)]
    leader = max(tensors, key=lambda one: (len(one.shape), int(np.prod(one.shape)), not one.plain))
    lead = len(shape) - len(leader.shape)
    order = (*range(lead), *(axis + lead for axis in leader.order))
    if not order:
        return order, 1
    last = order[-1] - len(shape)  # counted from the back, where axes of different ranks meet
    for one in tensors:
        whole_axis = one.order and one.order[-1] - len(one.shape) == last and one.shape[last] == shape[last]
        repeated = len(one.shape) < -last or one.shape[last] == 1
        if (one is leader or not repeated) and not (whole_axis and one.width == leader.width):
            return order, shape[last]
    return order, leader.width


def _operand(
    emitter: Emitter, value: Value, shape: tuple[int, ...], order: tuple[int, ...], width: int, fill: float
) -> relax.Expr:
    """A value of the result's rank, in its order, with as many lanes (or one, to be repeated)."""
    sizes = (*[1] * (len(shape) - len(value.shape)), *value.shape)
    if isinstance(value, np.ndarray):
        return emitter.constant(_constant_lanes(value.reshape(sizes).transpose(order), width, fill))
    lead = len(shape) - len(value.shape)
    raised = Tensor(
        emitter.view(value.expr, (*[1] * lead, *value.physical)) if lead else value.expr,
        sizes, value.dtype, (*range(lead), *(axis + lead for axis in value.order)), value.width,
    )  # fmt: skip
    raised = emitter.arranged(raised, order)
    if raised.width != width:
        raised = emitter.whole(raised)
    return raised.expr


def _constant_lanes(array: Array, width: int, fill: float) -> Array:
    return array if array.shape[-1:] in ((), (1,)) else padded_last(array, width, fill)


def where(call: Call) -> list[Value]:
    """A choice by condition, element by element."""
    values = [call.emitter.plain(call.tensor(index)) for index in range(3)]
    shape = np.broadcast_shapes(*(value.shape for value in values))
    expr = call.emitter.compute("where", Work("Where"), topi.where, [value.expr for value in values])
    return [call.emitter.tensor(expr, shape)]
