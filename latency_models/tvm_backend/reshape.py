"""Reshaping without copying where memory allows, whatever order the axes lie in."""

import math

import numpy as np

from latency_models.tvm_backend.emitter import Emitter
from latency_models.tvm_backend.graph import Array
from latency_models.tvm_backend.tensor import Tensor

Shape = tuple[int, ...]


def reshaped(emitter: Emitter, x: Tensor, shape: Shape, into_matrix: bool = False) -> Tensor:
    """The tensor in another shape of as many elements.

    Splitting an axis costs nothing, nor does merging axes that are neighbours in memory. Otherwise the tensor is copied
    into ONNX's order first, unless only matrix products with constant weights read it (`into_matrix`): these reorder
    their weights instead.
    """
    if shape == x.shape:
        return x
    if x.features is not None:
        x = emitter.whole(x)
    found = _order_after(x, shape)
    if found is None and into_matrix and len(shape) == 2 and x.order[0] == 0 and shape[0] == x.shape[0]:
        return _flattened(emitter, x, shape)
    if found is None and x.padded:
        return reshaped(emitter, emitter.whole(x), shape, into_matrix)
    if found is None:
        x = emitter.plain(x)
        found = tuple(range(len(shape)))
    order = found
    padded = x.padded
    width = x.width if padded else shape[order[-1]] if order else 1
    after = Tensor(x.expr, shape, x.dtype, order, width)
    return Tensor(emitter.view(x.expr, after.physical), shape, x.dtype, order, width)


def _flattened(emitter: Emitter, x: Tensor, shape: Shape) -> Tensor:
    n_batch, width = shape[0], math.prod(x.physical[1:])
    expr = emitter.view(x.expr, (n_batch, width))
    return Tensor(expr, shape, x.dtype, (0, 1), width, _features(x), x)


def _features(x: Tensor) -> Array:
    """The ONNX feature that lies in each lane of the flattened tensor, -1 where a lane is padding."""
    sizes = x.shape[1:]
    index = np.arange(math.prod(sizes)).reshape(sizes).transpose([axis - 1 for axis in x.order[1:]])
    missing = x.width - index.shape[-1]
    return np.pad(index, [(0, 0)] * (index.ndim - 1) + [(0, missing)], constant_values=-1).reshape(-1)


def _order_after(x: Tensor, shape: Shape) -> Shape | None:
    """The order in which the new axes lie in memory, or None if that is no order."""
    groups = _groups(x.shape, shape)
    place = {axis: position for position, axis in enumerate(axis for axis in x.order if x.shape[axis] != 1)}
    starts = []
    for old, new in groups:
        positions = [place[axis] for axis in old]
        if len(old) > 1 and positions != list(range(positions[0], positions[0] + len(old))):
            return None
        if x.padded and x.order[-1] in old and (len(old) > 1 or len(new) > 1):
            return None
        starts.append((positions[0], new))
    if x.padded and x.shape[x.order[-1]] == 1:
        return None
    filled = [axis for _, new in sorted(starts) for axis in new]
    units = [axis for axis in range(len(shape)) if axis not in filled]
    return _with_units(filled, units)


def _with_units(filled: list[int], units: list[int]) -> Shape:
    """Axes of size 1 cost nothing anywhere; they go where channels stay last, or ONNX's order stays ONNX's."""
    if filled == sorted(filled):
        both = sorted([*filled, *units])
        if not filled or both[-1] == filled[-1]:
            return tuple(both)
    return (*units, *filled)


def _groups(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of old and new axes with equal products; axes of size 1 are left out."""
    olds = [axis for axis, size in enumerate(old) if size != 1]
    news = [axis for axis, size in enumerate(new) if size != 1]
    groups, i, j = list[tuple[list[int], list[int]]](), 0, 0
    while i < len(olds):
        from_, to, have, want = [olds[i]], [news[j]], old[olds[i]], new[news[j]]
        i, j = i + 1, j + 1
        while have != want:
            if have < want:
                have, i = have * old[olds[i]], i + 1
                from_.append(olds[i - 1])
            else:
                want, j = want * new[news[j]], j + 1
                to.append(news[j - 1])
        groups.append((from_, to))
    return groups
