"""Operators that move elements: reshaping, transposing, joining, cutting, padding."""

import math
from typing import Any

import numpy as np
from tvm import te, tirx, topi

from latency_models.tvm_backend.call import Call
from latency_models.tvm_backend.emitter import Work
from latency_models.tvm_backend.reshape import reshaped
from latency_models.tvm_backend.tensor import Tensor, Value

Ints = tuple[int, ...]


def reshape(call: Call) -> list[Value]:
    """To a constant shape, in which 0 keeps an axis and -1 is what is left."""
    x = call.tensor(0)
    shape = [int(size) for size in call.constant(1)]
    if not call.attribute("allowzero", 0):
        shape = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    if -1 in shape:
        shape[shape.index(-1)] = math.prod(x.shape) // -math.prod(shape)
    return [reshaped(call.emitter, x, tuple(shape), call.into_matrix)]


def flatten(call: Call) -> list[Value]:
    """To a matrix: axes before `axis`, and from it on."""
    x = call.tensor(0)
    axis = int(call.attribute("axis", 1)) % (len(x.shape) + 1)
    shape = (math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    return [reshaped(call.emitter, x, shape, call.into_matrix)]


def squeeze(call: Call) -> list[Value]:
    """Without some axes of size 1."""
    x, axes = call.tensor(0), call.integers(1, "axes")
    gone = {axis % len(x.shape) for axis in axes} if axes else {axis for axis, size in enumerate(x.shape) if size == 1}
    shape = tuple(size for axis, size in enumerate(x.shape) if axis not in gone)
    return [reshaped(call.emitter, x, shape, call.into_matrix)]


def unsqueeze(call: Call) -> list[Value]:
    """With axes of size 1 put in."""
    x, axes = call.tensor(0), call.integers(1, "axes") or []
    rank = len(x.shape) + len(axes)
    new, left = {axis % rank for axis in axes}, iter(x.shape)
    return [reshaped(call.emitter, x, tuple(1 if axis in new else next(left) for axis in range(rank)))]


def transpose(call: Call) -> list[Value]:
    """Axes under new names: memory stays as it is."""
    x = call.tensor(0)
    x = call.emitter.whole(x) if x.features is not None else x
    rank = len(x.shape)
    axes = [int(axis) for axis in call.attribute("perm", range(rank - 1, -1, -1))]
    shape = tuple(x.shape[axis] for axis in axes)
    return [Tensor(x.expr, shape, x.dtype, tuple(axes.index(axis) for axis in x.order), x.width)]


def concat(call: Call) -> list[Value]:
    """One after another along an axis, in the order of the first that is not ONNX's own."""
    tensors = [call.emitter.whole(call.tensor(index)) for index in range(len(call.inputs))]
    axis = int(call.attribute("axis", 0)) % len(tensors[0].shape)
    order = next((one.order for one in tensors if not one.plain), tensors[0].order)
    tensors = [call.emitter.arranged(one, order) for one in tensors]
    place = order.index(axis)
    exprs = [one.expr for one in tensors]
    expr = call.emitter.compute("concat", Work("Concat"), _concat, exprs, place)
    shape = list(tensors[0].shape)
    shape[axis] = sum(one.shape[axis] for one in tensors)
    return [call.emitter.tensor(expr, tuple(shape), order)]


def _concat(*tensors_and_axis: Any) -> te.Tensor:
    return topi.concatenate(list(tensors_and_axis[:-1]), tensors_and_axis[-1])


def split(call: Call) -> list[Value]:
    """Into parts of given or equal sizes along an axis."""
    x, sizes = call.tensor(0), call.integers(1, "split")
    axis = int(call.attribute("axis", 0)) % len(x.shape)
    n_parts = len(call.node.outputs)
    if sizes is None:
        each = -(-x.shape[axis] // n_parts)
        sizes = [min(each, x.shape[axis] - each * index) for index in range(n_parts)]
    ends = np.cumsum(sizes).tolist()
    return [_cut(call, x, axis, end - size, end) for size, end in zip(sizes, ends, strict=True)]


def slice_(call: Call) -> list[Value]:
    """Constant starts, ends and steps along some axes."""
    x = call.tensor(0)
    starts, ends = call.integers(1, "starts") or [], call.integers(2, "ends") or []
    axes = call.integers(3, "axes") or list(range(len(starts)))
    steps = call.integers(4, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0:
            raise call.refusal("a slice runs backwards, where only steps forwards are supported")
        low, high, _ = slice(start, end, step).indices(x.shape[axis])
        x = _cut(call, x, axis % len(x.shape), low, max(low, high), step)
    return [x]


def _cut(call: Call, x: Tensor, axis: int, start: int, end: int, step: int = 1) -> Tensor:
    if (start, end, step) == (0, x.shape[axis], 1):
        return x
    if end <= start:
        raise call.refusal("a part of no elements is cut out")
    x = call.emitter.whole(x) if x.features is not None else x
    place = x.position(axis)
    expr = call.emitter.compute("slice", Work("Slice"), _strided, [x.expr], place, start, end, step)
    shape = (*x.shape[:axis], -(-(end - start) // step), *x.shape[axis + 1 :])
    return call.emitter.tensor(expr, shape, x.order)


def _strided(x: te.Tensor, place: int, start: int, end: int, step: int) -> te.Tensor:
    shape = [*x.shape[:place], tirx.IntImm("int64", -(-(end - start) // step)), *x.shape[place + 1 :]]

    def at(*index: Any) -> Any:
        return x(*index[:place], index[place] * step + start, *index[place + 1 :])

    return te.compute(shape, at, name="slice", tag="injective")


def gather(call: Call) -> list[Value]:
    """Elements at constant places of an axis, or rows of a constant table at computed places."""
    x, index = call.value(0), call.value(1)
    axis = int(call.attribute("axis", 0)) % len(x.shape)
    if isinstance(index, np.ndarray) and isinstance(x, Tensor):
        places = index.reshape(-1) % x.shape[axis]
        if index.ndim == 0:
            part = _cut(call, x, axis, int(places[0]), int(places[0]) + 1)
            return [reshaped(call.emitter, part, (*x.shape[:axis], *x.shape[axis + 1 :]), call.into_matrix)]
        if index.ndim == 1 and (np.diff(places) == 1).all():
            return [_cut(call, x, axis, int(places[0]), int(places[-1]) + 1)]
    table, where = call.emitter.plain(call.tensor(0)), call.tensor(1)
    if isinstance(index, np.ndarray):
        where = call.emitter.tensor(call.emitter.constant(index % x.shape[axis]), index.shape)
    where = call.emitter.plain(where)
    expr = call.emitter.compute("take", Work("Gather"), _take, [table.expr, where.expr], axis)
    return [call.emitter.tensor(expr, (*x.shape[:axis], *where.shape, *x.shape[axis + 1 :]))]


def _take(x: te.Tensor, index: te.Tensor, axis: int) -> te.Tensor:
    return topi.take(x, index, axis, mode="fast")


def expand(call: Call) -> list[Value]:
    """Repeated along axes of size 1 to fit a constant shape."""
    x = call.emitter.plain(call.tensor(0))
    shape = np.broadcast_shapes(x.shape, tuple(int(size) for size in call.constant(1)))
    if shape == x.shape:
        return [x]
    expr = call.emitter.compute("broadcast_to", Work("Expand"), topi.broadcast_to, [x.expr], shape)
    return [call.emitter.tensor(expr, shape)]


def pad(call: Call) -> list[Value]:
    """With a constant around."""
    x, pads = call.tensor(0), call.integers(1, "pads") or []
    if call.attribute("mode", "constant") != "constant":
        raise call.refusal(f"the mode {call.attribute('mode', '')} is not supported, only constant padding")
    rank = len(x.shape)
    value = float(call.constant(2).reshape(-1)[0]) if call.has(2) else float(call.attribute("value", 0.0))
    axes = call.integers(3, "axes") or list(range(rank))
    before, after = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        before[axis], after[axis] = pads[index], pads[index + len(axes)]
    if min([*before, *after]) < 0:
        raise call.refusal("it crops, where only padding is supported")
    if not any([*before, *after]):
        return [x]
    x = call.emitter.whole(x) if x.features is not None or before[x.order[-1]] or after[x.order[-1]] else x
    shape = tuple(low + size + high for low, size, high in zip(before, x.shape, after, strict=True))
    physical = [tuple(sides[axis] for axis in x.order) for sides in (before, after)]
    expr = call.emitter.compute("pad", Work("Pad"), _pad, [x.expr], *physical, value)
    return [call.emitter.tensor(expr, shape, x.order)]


def _pad(x: te.Tensor, before: Ints, after: Ints, value: float) -> te.Tensor:
    return topi.nn.pad(x, before, after, tirx.const(value, x.dtype))
