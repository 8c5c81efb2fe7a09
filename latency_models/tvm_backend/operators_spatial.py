"""Convolutions, pooling and resizing."""

import math

from tvm import te, topi

from latency_models.tvm_backend import expressions
from latency_models.tvm_backend.call import Call, Operator, padded_last
from latency_models.tvm_backend.emitter import Work
from latency_models.tvm_backend.graph import Array
from latency_models.tvm_backend.operators_elementwise import broadcast
from latency_models.tvm_backend.tensor import Tensor, Value, channels_last

Ints = tuple[int, ...]


def conv(call: Call) -> list[Value]:
    """Dense, grouped and depthwise convolutions over one or two spatial axes."""
    x, weight = call.tensor(0), call.constant(1)
    if len(x.shape) not in (3, 4):
        raise call.refusal(f"it works on {len(x.shape) - 2} spatial axes, where one or two are supported")
    groups = int(call.attribute("group", 1))
    n_out, n_in = weight.shape[0], x.shape[1]
    depthwise = groups == n_in == n_out and groups > 1
    if groups > 1 and not depthwise:
        x = call.emitter.whole(x)
    data, weight, strides, dilations, pads = _as_2d(call, x, weight)
    work = Work("Conv", 0, n_in, n_out, groups)
    if depthwise:
        width = data.width
        filters = padded_last(weight[:, 0].transpose(1, 2, 0), width)
        expr = _emit(call, "depthwise_conv2d", work, data, filters, strides, pads, dilations, depthwise=True)
    else:
        width = call.width(n_out, x.dtype) if groups == 1 else n_out
        filters = padded_last(weight.transpose(2, 3, 1, 0), width)
        expr = _emit(call, "conv2d", work, data, filters, strides, pads, dilations, groups=groups)
    return [_biased(call, _as_rank(call, expr, n_out, len(x.shape)), n_out)]


def _emit(
    call: Call,
    hint: str,
    work: Work,
    data: Tensor,
    filters: Array,
    strides: Ints,
    pads: Ints,
    dilations: Ints,
    groups: int = 1,
    depthwise: bool = False,
) -> Tensor:
    emitter = call.emitter
    n, high, wide, _ = data.physical
    kernel = filters.shape[:2]
    out = [
        (size + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
        for i, size in enumerate((high, wide))
    ]
    n_flops = 2 * n * math.prod(out) * math.prod(kernel) * work.n_in // work.groups * work.n_out
    done = Work(work.operator, n_flops, work.n_in, work.n_out, work.groups)
    inputs = [data.expr, emitter.constant(filters)]
    if depthwise:
        expr = emitter.compute(hint, done, expressions.depthwise_conv2d, inputs, strides, pads, dilations)
    else:
        expr = emitter.compute(hint, done, expressions.conv2d, inputs, strides, pads, dilations, groups)
    return emitter.tensor(expr, (n, work.n_out, *out), channels_last(4))


def _as_2d(call: Call, x: Tensor, weight: Array) -> tuple[Tensor, Array, Ints, Ints, Ints]:
    """The input, weight, strides, dilations and pads; a one-dimensional convolution gets a spatial axis of size 1."""
    emitter, n_space = call.emitter, len(x.shape) - 2
    x = emitter.arranged(x, channels_last(len(x.shape)))
    strides = tuple(int(n) for n in call.attribute("strides", [1] * n_space))
    dilations = tuple(int(n) for n in call.attribute("dilations", [1] * n_space))
    pads = explicit_pads(call, x.shape[2:], weight.shape[2:], strides, dilations)
    if n_space == 1:
        shape = (x.shape[0], x.shape[1], 1, x.shape[2])
        expr = emitter.view(x.expr, (x.shape[0], 1, x.shape[2], x.width))
        x = Tensor(expr, shape, x.dtype, channels_last(4), x.width)
        weight = weight[:, :, None]
        strides, dilations, pads = (1, *strides), (1, *dilations), (0, pads[0], 0, pads[1])
    return x, weight, strides, dilations, pads


def explicit_pads(call: Call, sizes: Ints, kernel: Ints, strides: Ints, dilations: Ints) -> Ints:
    """Begins, then ends, of every spatial axis."""
    n, auto = len(sizes), call.attribute("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        return tuple(int(pad) for pad in call.attribute("pads", [0] * (2 * n)))
    if auto == "VALID":
        return (0,) * (2 * n)
    totals = [
        max(0, (-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size)
        for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (*small, *large) if auto == "SAME_UPPER" else (*large, *small)


def _as_rank(call: Call, tensor: Tensor, n_out: int, rank: int) -> Tensor:
    if rank == 4:
        return tensor
    n, _, _, length = tensor.shape
    expr = call.emitter.view(tensor.expr, (n, length, tensor.width))
    return Tensor(expr, (n, n_out, length), tensor.dtype, channels_last(3), tensor.width)


def _biased(call: Call, tensor: Tensor, n_out: int) -> Value:
    if not call.has(2):
        return tensor
    bias = call.constant(2).reshape(1, n_out, *[1] * (len(tensor.shape) - 2))
    return broadcast(call.emitter, "Add", tensor, bias)


def conv_transpose(call: Call) -> list[Value]:
    """A transposed convolution: a convolution with flipped weights over the input spread out with zeros."""
    x, weight = call.tensor(0), call.constant(1)
    if len(x.shape) != 4 or int(call.attribute("group", 1)) != 1:
        raise call.refusal("only one group and two spatial axes are supported")
    if call.attribute("auto_pad", "NOTSET") not in ("NOTSET", "") or "output_shape" in call.node.attributes:
        raise call.refusal("only explicit pads are supported")
    strides = tuple(int(n) for n in call.attribute("strides", [1, 1]))
    dilations = tuple(int(n) for n in call.attribute("dilations", [1, 1]))
    pads = [int(n) for n in call.attribute("pads", [0] * 4)]
    extra = [int(n) for n in call.attribute("output_padding", [0, 0])]
    reach = [(k - 1) * d for k, d in zip(weight.shape[2:], dilations, strict=True)]
    edges = tuple(reach[i % 2] - pads[i] + (extra[i - 2] if i >= 2 else 0) for i in range(4))
    if min(edges) < 0:
        raise call.refusal("it is cropped by more than its kernel reaches")
    emitter = call.emitter
    data = emitter.arranged(x, channels_last(4))
    if strides != (1, 1):
        expr = emitter.compute("dilate", Work("Pad"), _spread, [data.expr], strides)
        sizes = tuple((size - 1) * stride + 1 for size, stride in zip(x.shape[2:], strides, strict=True))
        data = Tensor(expr, (*x.shape[:2], *sizes), x.dtype, channels_last(4), data.width)
    n_in, n_out = weight.shape[:2]
    filters = padded_last(weight[:, :, ::-1, ::-1].transpose(2, 3, 0, 1), call.width(n_out, x.dtype))
    work = Work("ConvTranspose", 0, n_in, n_out)
    return [_biased(call, _emit(call, "conv2d", work, data, filters, (1, 1), edges, dilations), n_out)]


def _spread(x: te.Tensor, strides: Ints) -> te.Tensor:
    return topi.nn.dilate(x, (1, *strides, 1))


def _pool(kind: str) -> Operator:
    def pool(call: Call) -> list[Value]:
        x = call.tensor(0)
        if len(x.shape) != 4 or len(call.node.outputs) > 1:
            raise call.refusal("only two spatial axes and one output are supported")
        x = call.emitter.arranged(x, channels_last(4))
        kernel = tuple(int(n) for n in call.attribute("kernel_shape", []))
        strides = tuple(int(n) for n in call.attribute("strides", [1, 1]))
        dilations = tuple(int(n) for n in call.attribute("dilations", [1, 1]))
        pads = explicit_pads(call, x.shape[2:], kernel, strides, dilations)
        ceil, counted = bool(call.attribute("ceil_mode", 0)), bool(call.attribute("count_include_pad", 0))
        expr = call.emitter.compute(
            f"{kind}_pool2d", Work("MaxPool" if kind == "max" else "AveragePool", 0, x.shape[1], x.shape[1]),
            expressions.pool2d, [x.expr], kernel, strides, pads, dilations, ceil, kind, counted,
        )  # fmt: skip
        high, wide = (int(size) for size in expr.ty.shape.values[1:3])
        return [call.emitter.tensor(expr, (*x.shape[:2], high, wide), channels_last(4))]

    return pool


def resize(call: Call) -> list[Value]:
    """Nearest and bilinear resizing of the two spatial axes."""
    x = call.emitter.arranged(call.tensor(0), channels_last(4))
    if len(x.shape) != 4:
        raise call.refusal("only two spatial axes are supported")
    if call.has(3) and call.constant(3).size:
        sizes = [int(n) for n in call.constant(3)]
    else:
        sizes = [math.floor(size * scale) for size, scale in zip(x.shape, call.constant(2).tolist(), strict=True)]
    mode, coordinates = (
        call.attribute("mode", "nearest"),
        call.attribute("coordinate_transformation_mode", "half_pixel"),
    )
    if mode not in ("nearest", "linear") or sizes[:2] != list(x.shape[:2]) or call.attribute("antialias", 0):
        raise call.refusal(f"mode {mode} to shape {sizes} is not supported")
    if coordinates == "pytorch_half_pixel" and 1 not in sizes[2:]:
        coordinates = "half_pixel"
    if coordinates not in ("half_pixel", "align_corners", "asymmetric"):
        raise call.refusal(f"the coordinates {coordinates} are not supported")
    method = "nearest_neighbor" if mode == "nearest" else "linear"
    rounding = call.attribute("nearest_mode", "round_prefer_floor")
    expr = call.emitter.compute(
        "resize2d", Work("Resize", 0, x.shape[1], x.shape[1]), _resize, [x.expr], tuple(sizes[2:]), method, coordinates,
        rounding,
    )  # fmt: skip
    return [call.emitter.tensor(expr, tuple(sizes), channels_last(4))]


def _resize(x: te.Tensor, size: Ints, method: str, coordinates: str, rounding: str) -> te.Tensor:
    return topi.image.resize2d(
        x, [0.0] * 4, size, "NHWC", method, coordinates, rounding if method == "nearest_neighbor" else "",
    )  # fmt: skip


def global_average_pool(call: Call) -> list[Value]:
    """The mean over all spatial axes, which stay with size 1."""
    x = call.emitter.arranged(call.tensor(0), channels_last(len(call.tensor(0).shape)))
    axes = tuple(range(1, len(x.shape) - 1))
    work = Work("GlobalAveragePool", math.prod(x.shape), x.shape[1], x.shape[1])
    expr = call.emitter.compute("mean", work, expressions.mean, [x.expr], axes, True)
    return [call.emitter.tensor(expr, (*x.shape[:2], *[1] * len(axes)), x.order)]


max_pool = _pool("max")
average_pool = _pool("avg")
