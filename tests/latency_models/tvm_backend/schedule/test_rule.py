"""Every kind of kernel computes what numpy does, at odd sizes, on one thread and on two."""

from collections.abc import Callable

import numpy as np
import pytest
from tvm import te, tirx, topi

from latency_models.errors import LatencyError
from latency_models.host import host_processor
from latency_models.target import Processor
from latency_models.tvm_backend.schedule import schedule, threads
from tests.latency_models.tvm_backend.schedule.kernels import (
    AVX2,
    NEON,
    Array,
    compiled,
    conv,
    kernel,
    placeholders,
    run,
    simple,
)

pytestmark = pytest.mark.skipif(host_processor().vector_bits < 256, reason="runs code for AVX2 or AVX-512")

CONVOLUTIONS = {
    "3x3": ((1, 9, 9, 7), (3, 3, 7, 13), 1, 1, 1, 1),
    "3x3 stride 2": ((1, 11, 10, 16), (3, 3, 16, 24), 2, 1, 1, 1),
    "3x3 dilated": ((1, 9, 9, 3), (3, 3, 3, 40), 1, 2, 2, 1),
    "1x1": ((1, 7, 5, 13), (1, 1, 13, 72), 1, 0, 1, 1),
    "one channel": ((1, 6, 6, 1), (3, 3, 1, 1), 1, 1, 1, 1),
    "batch of 3": ((3, 5, 5, 4), (3, 3, 4, 20), 1, 1, 1, 1),
    "depthwise": ((1, 9, 9, 13), (3, 3, 1, 13), 1, 1, 1, 13),
    "depthwise 7x7 stride 2": ((1, 11, 11, 32), (7, 7, 1, 32), 2, 3, 1, 32),
    "2 groups": ((1, 6, 6, 14), (3, 3, 7, 26), 1, 1, 1, 2),
    "4 wide groups": ((1, 5, 5, 16), (1, 1, 4, 64), 1, 0, 1, 4),
}


def softmax(x: Array) -> Array:
    powers: Array = np.exp(x - x.max(-1, keepdims=True))
    share: Array = powers / powers.sum(-1, keepdims=True)
    return share


def layer_norm(x: Array, scale: Array, shift: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    normal: Array = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + shift
    return normal


def batched_matmul(a: te.Tensor, b: te.Tensor) -> te.Tensor:
    k = te.reduce_axis((0, b.shape[1]), name="k")
    shape = (a.shape[0], a.shape[1], b.shape[2])
    return te.compute(shape, lambda n, i, j: te.sum(a[n, i, k] * b[n, k, j], axis=k), name="matmul")


def mean(x: te.Tensor, axes: tuple[int, ...]) -> te.Tensor:
    count = float(np.prod([int(x.shape[axis]) for axis in axes]))
    return topi.divide(topi.sum(x, axes), tirx.const(count, "float32"))


def windows(x: Array) -> Array:
    """2x2 windows of an NHWC image as two more axes."""
    n, high, wide, channels = x.shape
    return x.reshape(n, high // 2, 2, wide // 2, 2, channels)


Simple = tuple[tuple[tuple[int, ...], ...], Callable[..., te.Tensor], Callable[..., Array]]
SIMPLE: dict[str, Simple] = {
    "matmul": (((13, 29), (29, 31)), topi.nn.matmul, np.matmul),
    "matrix of one row": (((1, 64), (64, 10)), topi.nn.matmul, np.matmul),
    "one row, many columns": (((1, 31), (31, 500)), topi.nn.matmul, np.matmul),
    "second transposed": (
        ((17, 24), (21, 24)),
        lambda a, b: topi.nn.matmul(a, b, transpose_b=True),
        lambda a, b: a @ b.T,
    ),
    "one row, transposed": (
        ((1, 24), (21, 24)),
        lambda a, b: topi.nn.matmul(a, b, transpose_b=True),
        lambda a, b: a @ b.T,
    ),
    "batched": (((3, 13, 8), (3, 8, 19)), batched_matmul, np.matmul),
    "batched transposed": (
        ((3, 13, 8), (3, 19, 8)),
        topi.nn.batch_matmul,
        lambda a, b: a @ b.transpose(0, 2, 1),
    ),
    "softmax": (((3, 5, 37),), lambda x: topi.nn.softmax(x, -1), softmax),
    "softmax of few": (((4, 3),), lambda x: topi.nn.softmax(x, -1), softmax),
    "layer norm": (((2, 5, 37), (37,), (37,)), lambda x, a, b: topi.nn.layer_norm(x, a, b, [2]), layer_norm),
    "mean over space": (((2, 5, 7, 13),), lambda x: mean(x, (1, 2)), lambda x: x.mean((1, 2))),
    "mean over an axis of one": (((6, 37, 1),), lambda x: mean(x, (2,)), lambda x: x.mean(-1)),
    "mean over one pixel to one number": (((1, 1, 1),), lambda x: mean(x, (1, 2)), lambda x: x.mean((1, 2))),
    "mean over the last axis": (((6, 37),), lambda x: mean(x, (1,)), lambda x: x.mean(-1)),
    "sum of everything": (((5, 37),), lambda x: topi.sum(x, (0, 1), keepdims=True), lambda x: x.sum(keepdims=True)),
    "max pooling": (
        ((1, 6, 8, 13),),
        lambda x: topi.nn.pool2d(x, (2, 2), (2, 2), (1, 1), (0, 0, 0, 0), "max", layout="NHWC"),
        lambda x: windows(x).max((2, 4)),
    ),
    "average pooling": (
        ((1, 6, 8, 7),),
        lambda x: topi.nn.pool2d(x, (2, 2), (2, 2), (1, 1), (0, 0, 0, 0), "avg", layout="NHWC"),
        lambda x: windows(x).mean((2, 4)),
    ),
    "broadcasting": (
        ((2, 5, 5, 13), (2, 1, 1, 13)),
        lambda x, s: topi.nn.relu(topi.multiply(x, s)),
        lambda x, s: np.maximum(x * s, 0),
    ),
    "used twice": (
        ((5, 13),),
        lambda x: (lambda y: topi.multiply(y, topi.add(y, y)))(topi.add(x, x)),
        lambda x: 8 * x * x,
    ),
    "concatenation": (
        ((1, 4, 4, 7), (1, 4, 4, 13)),
        lambda a, b: topi.concatenate([a, b], 3),
        lambda a, b: np.concatenate([a, b], 3),
    ),
    "padding": (
        ((1, 5, 6, 7),),
        lambda x: topi.nn.pad(x, (0, 1, 2, 0), (0, 2, 1, 0)),
        lambda x: np.pad(x, ((0, 0), (1, 2), (2, 1), (0, 0))),
    ),
    "transposition": (((2, 7, 5, 3),), lambda x: topi.transpose(x, (0, 3, 1, 2)), lambda x: x.transpose(0, 3, 1, 2)),
    "scalar": (((1,),), topi.nn.relu, lambda x: np.maximum(x, 0)),
}


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def n_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Two threads share even the smallest kernel here."""
    monkeypatch.setattr(threads, "LAUNCH_S", 0.0)
    return int(request.param)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str, n_threads: int) -> None:
    func, arrays, expected = conv(*CONVOLUTIONS[name])
    found = run(func, arrays, expected.shape, n_threads)
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("name", SIMPLE)
def test_other_kernels(name: str, n_threads: int) -> None:
    func, arrays, expected = simple(*SIMPLE[name])
    found = run(func, arrays, expected.shape, n_threads)
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("processor", [NEON, AVX2], ids=["NEON", "AVX2"])
def test_other_processors_compile(processor: Processor) -> None:
    func, _, _ = conv((1, 8, 8, 16), (3, 3, 16, 24), 1, 1)
    source = compiled(func, processor).mod.inspect_source("asm")
    assert ("fmla" if processor is NEON else "vfmadd") in source
    assert "zmm" not in source


def test_half_precision_uses_every_lane() -> None:
    x, w = placeholders((32, 32), (32, 32), dtype="float16")
    source = compiled(kernel([x, w], topi.nn.matmul(x, w)), NEON).mod.inspect_source("asm")
    assert ".8h" in source


def test_a_parallel_loop_where_it_pays() -> None:
    small, _, _ = conv((1, 4, 4, 4), (3, 3, 4, 4), 1, 1)
    large, _, _ = conv((1, 32, 32, 32), (3, 3, 32, 32), 1, 1)
    assert "T.parallel" not in schedule(small, AVX2, 2).script()
    assert "T.parallel(T.int64(2))" in schedule(large, AVX2, 2).script()
    assert "T.parallel" not in schedule(large, AVX2, 1).script()


def test_padding_needs_no_conditions() -> None:
    func, _, _ = conv((1, 9, 9, 16), (3, 3, 16, 16), 1, 1)
    assert "if_then_else" in func.script()
    assert "if_then_else" not in schedule(func, AVX2, 1).script()


def test_sums_are_not_on_the_heap() -> None:
    func, _, _ = conv((1, 8, 8, 16), (1, 1, 16, 24), 1, 0)
    assert "AllocWorkspace" not in compiled(func, AVX2).mod.inspect_source("asm")


def test_what_is_called_lane_by_lane_after_a_sum(n_threads: int) -> None:
    func, arrays, expected = simple(
        ((40, 24), (24, 32), (32,)),
        lambda a, b, c: topi.atan(topi.add(topi.nn.matmul(a, b), c)),
        lambda a, b, c: np.arctan(a @ b + c),
    )
    np.testing.assert_allclose(run(func, arrays, expected.shape, n_threads), expected, atol=2e-4)


def test_what_cannot_be_scheduled_is_named() -> None:
    x = te.placeholder((tirx.IntImm("int64", 8),), "float32", name="x")
    value = topi.argmax(x, 0)
    with pytest.raises(LatencyError, match=r"Kernel best_of_all cannot be scheduled.*index of a maximum"):
        schedule(kernel([x], value, name="best_of_all"), AVX2, 1)


def test_a_kernel_with_a_free_size_is_refused() -> None:
    n = tirx.Var("n", "int64")
    x = te.placeholder((n,), "float32", name="x")
    with pytest.raises(LatencyError, match="not constant"):
        schedule(kernel([x], topi.nn.relu(x)), AVX2, 1)
