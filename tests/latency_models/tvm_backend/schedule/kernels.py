"""Unscheduled kernels of every kind with what numpy makes of them, and how to run them scheduled."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import te, tirx, topi

from latency_models.host import host_processor
from latency_models.target import Processor
from latency_models.tvm_backend.schedule import schedule
from latency_models.tvm_backend.threads import use_threads

Array = NDArray[np.float32]
AVX512 = Processor(cpu="x86-64-v4", vector_bits=512, n_vector_registers=32)
AVX2 = Processor(cpu="x86-64-v3", vector_bits=256, n_vector_registers=16)
NEON = Processor("aarch64-linux-gnu", "cortex-a76", "+fullfp16", 128, 32, True)
HERE = AVX512 if host_processor().vector_bits == 512 else AVX2


def kernel(inputs: Sequence[te.Tensor], *outputs: te.Tensor, name: str = "kernel") -> tirx.PrimFunc:
    """A function of tensor expressions as TVM makes it, without a schedule."""
    return te.create_prim_func([*inputs, *outputs]).with_attr("global_symbol", name)


def placeholders(*shapes: tuple[int, ...], dtype: str = "float32") -> list[te.Tensor]:
    """Inputs of these shapes, indexed with 64 bits as relax does."""
    return [
        te.placeholder([tirx.IntImm("int64", size) for size in shape], dtype, name=f"p{index}")
        for index, shape in enumerate(shapes)
    ]


def compiled(func: tirx.PrimFunc, processor: Processor, n_threads: int = 1) -> Any:
    """The scheduled function's library for a processor."""
    scheduled = schedule(func, processor, n_threads)
    assert scheduled.attrs["tirx.is_scheduled"]
    config: dict[str, Any] = {"kind": "llvm", "mcpu": processor.cpu}
    if processor.triple:
        config |= {"mtriple": processor.triple, "mattr": processor.features.split(",")}
    return tvm.compile(tvm.IRModule({"kernel": scheduled}), target=tvm.target.Target(config))


def run(func: tirx.PrimFunc, arrays: Sequence[Array], shape: tuple[int, ...], n_threads: int = 1) -> Array:
    """What the scheduled function computes on this machine; the output is filled with NaN before."""
    library = compiled(func, HERE, n_threads)
    use_threads(n_threads, [0, 1])
    output = tvm.runtime.tensor(np.full(shape, np.nan, np.float32))
    library["kernel"](*(tvm.runtime.tensor(array) for array in arrays), output)
    result: Array = output.numpy()
    return result


def random(*shapes: tuple[int, ...]) -> list[Array]:
    """Normal numbers."""
    generator = np.random.default_rng(0)
    return [generator.standard_normal(shape, dtype=np.float32) for shape in shapes]


def conv_reference(x: Array, w: Array, stride: int, pad: int, dilation: int, groups: int) -> Array:
    """Convolution NHWC/HWIO, sample by sample."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    high, wide, n_in, n_out = w.shape
    sizes = [(x.shape[1 + i] - (w.shape[i] - 1) * dilation - 1) // stride + 1 for i in (0, 1)]
    y = np.zeros((x.shape[0], *sizes, n_out), np.float32)
    for i in range(high):
        for j in range(wide):
            rows = slice(i * dilation, i * dilation + (sizes[0] - 1) * stride + 1, stride)
            columns = slice(j * dilation, j * dilation + (sizes[1] - 1) * stride + 1, stride)
            for group in range(groups):
                out = slice(group * n_out // groups, (group + 1) * n_out // groups)
                part = x[:, rows, columns, group * n_in : (group + 1) * n_in]
                y[..., out] += part @ w[i, j][:, out]
    return y


def conv(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], stride: int, pad: int, dilation: int = 1, groups: int = 1
) -> tuple[tirx.PrimFunc, list[Array], Array]:
    """A convolution with bias, a residual added and ReLU6; its inputs and result."""
    arrays = random(x_shape, w_shape)
    plain = conv_reference(arrays[0], arrays[1], stride, pad, dilation, groups)
    bias, residual = random((1, 1, 1, w_shape[3]), plain.shape)
    x, w, b, r = placeholders(x_shape, w_shape, bias.shape, residual.shape)
    if groups == 1:
        y = topi.nn.conv2d_nhwc(x, w, stride, pad, dilation)
    else:
        y = topi.nn.group_conv2d_nhwc(x, w, stride, pad, dilation, groups)
    y = topi.clip(topi.add(topi.add(y, b), r), 0.0, 6.0)
    return kernel([x, w, b, r], y), [*arrays, bias, residual], np.clip(plain + bias + residual, 0, 6)


def simple(
    shapes: Sequence[tuple[int, ...]], expression: Callable[..., te.Tensor], reference: Callable[..., Array]
) -> tuple[tirx.PrimFunc, list[Array], Array]:
    """A kernel of one expression."""
    inputs, arrays = placeholders(*shapes), random(*shapes)
    return kernel(inputs, expression(*inputs)), arrays, reference(*arrays)
