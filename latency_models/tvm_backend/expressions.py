"""Tensor expressions of the operators whose work is worth a schedule: channels last, odd widths, no layouts to choose.

Names of the stages (`conv2d_nhwc`, `pad_temp`, `matmul`, ...) are TVM's own, so that its tools know them.
"""

from collections.abc import Sequence
from typing import Any

from tvm import te, tirx, topi

Ints = tuple[int, ...]


def conv2d(
    data: te.Tensor, weight: te.Tensor, strides: Ints, pads: Ints, dilations: Ints, groups: int = 1
) -> te.Tensor:
    """(n, h, w, at least groups * i) with (kh, kw, i, o) to (n, oh, ow, o).

    Lanes of `data` beyond the weight's channels are not read. `pads` are top, left, bottom, right.
    """
    n_high, n_wide, n_in, n_out = (int(size) for size in weight.shape)
    padded = _padded(data, pads)
    high, wide = _out_sizes(padded, (n_high, n_wide), strides, dilations)
    ry, rx, rc = (te.reduce_axis((0, _i64(n)), name=name) for n, name in ((n_high, "ry"), (n_wide, "rx"), (n_in, "rc")))

    def sample(n: Any, y: Any, x: Any, f: Any) -> Any:
        channel = rc if groups == 1 else f // (n_out // groups) * n_in + rc
        y, x = y * strides[0] + ry * dilations[0], x * strides[1] + rx * dilations[1]
        return te.sum(padded[n, y, x, channel] * weight[ry, rx, rc, f], axis=[ry, rx, rc])

    name = "conv2d_nhwc" if groups == 1 else "group_conv2d_nhwc"
    return te.compute((data.shape[0], _i64(high), _i64(wide), _i64(n_out)), sample, name=name, tag=name)


def depthwise_conv2d(data: te.Tensor, weight: te.Tensor, strides: Ints, pads: Ints, dilations: Ints) -> te.Tensor:
    """(n, h, w, c) with (kh, kw, c) to (n, oh, ow, c)."""
    n_high, n_wide, n_channels = (int(size) for size in weight.shape)
    padded = _padded(data, pads)
    high, wide = _out_sizes(padded, (n_high, n_wide), strides, dilations)
    ry, rx = (te.reduce_axis((0, _i64(n)), name=name) for n, name in ((n_high, "ry"), (n_wide, "rx")))

    def sample(n: Any, y: Any, x: Any, c: Any) -> Any:
        y, x = y * strides[0] + ry * dilations[0], x * strides[1] + rx * dilations[1]
        return te.sum(padded[n, y, x, c] * weight[ry, rx, c], axis=[ry, rx])

    name = "depthwise_conv2d_nhwc"
    return te.compute((data.shape[0], _i64(high), _i64(wide), _i64(n_channels)), sample, name=name, tag=name)


def matmul(a: te.Tensor, b: te.Tensor, n_reduced: int) -> te.Tensor:
    """(..., m, k) with (..., k, n) to (..., m, n), broadcast over what is in front.

    Lanes of `a` from `n_reduced` on are not read.
    """
    n_lead = max(len(a.shape), len(b.shape)) - 2
    shape = [*_broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]]
    k = te.reduce_axis((0, _i64(n_reduced)), name="k")

    def product(*index: Any) -> Any:
        lead, row, column = index[:n_lead], index[-2], index[-1]
        return te.sum(a(*_lead(a, lead), row, k) * b(*_lead(b, lead), k, column), axis=k)

    return te.compute(shape, product, name="matmul", tag="matmul")


def pool2d(
    data: te.Tensor, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints, ceil: bool, kind: str, count_pad: bool
) -> te.Tensor:
    """`max` or `avg` over windows of (n, h, w, c)."""
    return topi.nn.pool2d(data, kernel, strides, dilations, pads, kind, ceil, "NHWC", count_pad)


def mean(data: te.Tensor, axes: Ints, keep: bool) -> te.Tensor:
    """The mean over some axes."""
    n = 1
    for axis in axes:
        n *= int(data.shape[axis])
    return topi.multiply(topi.sum(data, axes, keep), tirx.const(1.0 / n, data.dtype))


def _padded(data: te.Tensor, pads: Ints) -> te.Tensor:
    if not any(pads):
        return data
    top, left, bottom, right = pads
    return topi.nn.pad(data, (0, top, left, 0), (0, bottom, right, 0), name="pad_temp")


def _out_sizes(padded: te.Tensor, kernel: Ints, strides: Ints, dilations: Ints) -> list[int]:
    return [
        (int(padded.shape[1 + i]) - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(len(kernel))
    ]


def _broadcast(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    n = max(len(one), len(other))
    sizes = []
    for i in range(-n, 0):
        pair = [int(shape[i]) for shape in (one, other) if len(shape) >= -i]
        sizes.append(_i64(max(pair)))
    return sizes


def _lead(tensor: te.Tensor, index: Sequence[Any]) -> list[Any]:
    """The leading indices that a tensor of fewer or unit axes is read at."""
    n = len(tensor.shape) - 2
    return [_i64(0) if int(tensor.shape[i]) == 1 else index[len(index) - n + i] for i in range(n)]


def _i64(size: int) -> tirx.IntImm:
    return tirx.IntImm("int64", int(size))
