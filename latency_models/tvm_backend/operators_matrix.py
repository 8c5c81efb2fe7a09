"""Matrix products: fully connected layers and the products of attention."""

import math

import numpy as np

from latency_models.tvm_backend import expressions
from latency_models.tvm_backend.call import Call, padded_last
from latency_models.tvm_backend.emitter import Work
from latency_models.tvm_backend.graph import Array
from latency_models.tvm_backend.operators_elementwise import broadcast
from latency_models.tvm_backend.tensor import Tensor, Value


def gemm(call: Call) -> list[Value]:
    """alpha A B + beta C, where B is constant."""
    a, weight = call.tensor(0), call.constant(1)
    alpha, beta = float(call.attribute("alpha", 1.0)), float(call.attribute("beta", 1.0))
    weight = weight.T if call.attribute("transB", 0) else weight
    if call.attribute("transA", 0):
        a = call.emitter.whole(a)
        a = Tensor(a.expr, a.shape[::-1], a.dtype, tuple(1 - axis for axis in a.order), a.width)
    result = _times_constant(call, a, (weight * alpha).astype(weight.dtype) if alpha != 1 else weight, "Gemm")
    if not call.has(2) or beta == 0:
        return [result]
    bias = call.value(2)
    if isinstance(bias, np.ndarray):
        bias = (bias * beta).astype(bias.dtype)
    elif beta != 1:
        raise call.refusal("its third input is computed and scaled")
    return [broadcast(call.emitter, "Add", result, bias)]


def matmul(call: Call) -> list[Value]:
    """A product, batched over leading axes as in numpy."""
    a, b = call.value(0), call.value(1)
    if isinstance(b, np.ndarray) and b.ndim == 2 and isinstance(a, Tensor) and len(a.shape) > 1:
        return [_times_constant(call, a, b, "MatMul")]
    left, right = (call.emitter.plain(call.tensor(index)) for index in range(2))
    if min(len(left.shape), len(right.shape)) < 2:
        raise call.refusal("a vector is multiplied, where only matrices are supported")
    shape = (*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1])
    work = Work("MatMul", 2 * math.prod(shape) * left.shape[-1], left.shape[-1], shape[-1])
    expr = call.emitter.compute(
        "matmul", work, expressions.matmul, [left.expr, right.expr], left.shape[-1]
    )  # fmt: skip
    return [call.emitter.tensor(expr, shape)]


def _times_constant(call: Call, a: Tensor, weight: Array, operator: str) -> Tensor:
    """(..., k) times (k, n): one matrix product over all leading axes."""
    emitter, (n_reduced, n_out) = call.emitter, weight.shape
    rank = len(a.shape)
    if a.features is not None:
        rows = np.where(a.features >= 0, a.features, 0)
        weight = np.where(a.features[:, None] >= 0, weight[rows], 0).astype(weight.dtype)
        n_reduced = len(weight)
    elif a.order[-1] != rank - 1:
        a = emitter.arranged(a, tuple(range(rank)))
    filters = padded_last(weight, call.width(n_out, a.dtype))
    n_rows = math.prod(a.shape[:-1])
    data = emitter.view(a.expr, (n_rows, a.width))
    work = Work(operator, 2 * n_rows * weight.shape[0] * n_out, weight.shape[0], n_out)
    expr = emitter.compute("matmul", work, expressions.matmul, [data, emitter.constant(filters)], n_reduced)
    shape = (*a.shape[:-1], n_out)
    order = tuple(range(rank)) if a.features is not None else a.order
    result = Tensor(expr, shape, a.dtype, order, filters.shape[1])
    return Tensor(emitter.view(expr, result.physical), shape, a.dtype, order, filters.shape[1])
