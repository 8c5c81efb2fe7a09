"""Reductions and normalisations."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import te, topi

from latency_models.tvm_backend import expressions
from latency_models.tvm_backend.call import Call, Operator
from latency_models.tvm_backend.emitter import Work
from latency_models.tvm_backend.operators_elementwise import broadcast
from latency_models.tvm_backend.tensor import Value


def reduce(operator: str, function: Callable[..., te.Tensor]) -> Operator:
    """A reduction over some axes (all by default), given as an input or an attribute."""

    def emit(call: Call) -> list[Value]:
        x, axes = call.tensor(0), call.integers(1, "axes")
        rank = len(x.shape)
        chosen = sorted(axis % rank for axis in axes) if axes else list(range(rank))
        if axes is None and call.attribute("noop_with_empty_axes", 0):
            return [x]
        last = bool(x.order) and x.order[-1] in chosen
        x = call.emitter.whole(x) if last or x.features is not None else x
        keep = bool(call.attribute("keepdims", 1))
        places = tuple(sorted(x.position(axis) for axis in chosen))
        work = Work(operator, math.prod(x.shape), x.shape[1] if rank > 1 else 0, x.shape[1] if rank > 1 else 0)
        expr = call.emitter.compute(operator.lower(), work, function, [x.expr], places, keep)
        if keep:
            shape = tuple(1 if axis in chosen else size for axis, size in enumerate(x.shape))
            return [call.emitter.tensor(expr, shape, x.order)]
        left = [axis for axis in range(rank) if axis not in chosen]
        order = tuple(left.index(axis) for axis in x.order if axis in left)
        return [call.emitter.tensor(expr, tuple(x.shape[axis] for axis in left), order)]

    return emit


def softmax(call: Call) -> list[Value]:
    """Softmax over one axis."""
    x = call.emitter.whole(call.tensor(0))
    place = x.position(int(call.attribute("axis", -1)))
    work = Work("Softmax", 5 * math.prod(x.shape))
    expr = call.emitter.compute("softmax", work, _softmax, [x.expr], place)
    return [call.emitter.tensor(expr, x.shape, x.order)]


def _softmax(x: te.Tensor, axis: int) -> te.Tensor:
    return topi.nn.fast_softmax(x, axis) if x.dtype == "float32" else topi.nn.softmax(x, axis)


def layer_normalization(call: Call) -> list[Value]:
    """Normalisation over the last axes (opset 17), scaled and shifted."""
    x, scale = call.tensor(0), call.constant(1)
    rank = len(x.shape)
    first = int(call.attribute("axis", -1)) % rank
    if len(call.node.outputs) > 1:
        raise call.refusal("its mean or deviation is asked for too")
    axes = tuple(range(first, rank))
    x = call.emitter.whole(x)
    if x.order[first:] != axes:
        x = call.emitter.plain(x)
    shift = call.constant(2) if call.has(2) else np.zeros_like(scale)
    inputs = [x.expr, call.emitter.constant(scale), call.emitter.constant(shift)]
    work = Work("LayerNormalization", 8 * math.prod(x.shape), x.shape[-1], x.shape[-1])
    epsilon = float(call.attribute("epsilon", 1e-5))
    expr = call.emitter.compute("layer_norm", work, topi.nn.layer_norm, inputs, axes, epsilon)
    return [call.emitter.tensor(expr, x.shape, x.order)]


def batch_normalization(call: Call) -> list[Value]:
    """Batch norm with fixed statistics: a scale and a shift for each channel."""
    x = call.tensor(0)
    scale, bias, mean, variance = (call.constant(index).astype(np.float64) for index in range(1, 5))
    factor = scale / np.sqrt(variance + float(call.attribute("epsilon", 1e-5)))
    shape = (1, -1, *[1] * (len(x.shape) - 2))
    kind: Any = np.dtype(x.dtype)
    scaled = broadcast(call.emitter, "Mul", x, factor.astype(kind).reshape(shape))
    return [broadcast(call.emitter, "Add", scaled, (bias - mean * factor).astype(kind).reshape(shape))]


def l2_norm(x: te.Tensor, axes: tuple[int, ...], keep: bool) -> te.Tensor:
    """The square root of the sum of squares."""
    return topi.sqrt(topi.sum(topi.multiply(x, x), axes, keep))


def maximum(x: te.Tensor, axes: tuple[int, ...], keep: bool) -> te.Tensor:
    """The largest over some axes."""
    return topi.max(x, axes, keep)


def total(x: te.Tensor, axes: tuple[int, ...], keep: bool) -> te.Tensor:
    """The sum over some axes."""
    return topi.sum(x, axes, keep)


def mean(x: te.Tensor, axes: tuple[int, ...], keep: bool) -> te.Tensor:
    """The mean over some axes."""
    return expressions.mean(x, axes, keep)
