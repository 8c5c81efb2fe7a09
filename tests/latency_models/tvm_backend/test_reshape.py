"""Which reshapes copy: those that memory's order allows are views."""

import pytest

pytest.importorskip("tvm", reason="TVM is not installed")

from tvm import relax

from latency_models.target import Processor
from latency_models.tvm_backend.emitter import Emitter
from latency_models.tvm_backend.reshape import reshaped
from latency_models.tvm_backend.tensor import Tensor


def reshape(
    shape: tuple[int, ...], order: tuple[int, ...], width: int, to: tuple[int, ...], into_matrix: bool = False
) -> tuple[Tensor, list[str]]:
    """The reshaped tensor, and the kernels that it took."""
    emitter = Emitter(Processor())
    physical = (*(shape[axis] for axis in order[:-1]), width)
    var = relax.Var("x", relax.TensorType(physical, "float32"))
    with emitter.builder.function("main", [var]):
        with emitter.builder.dataflow():
            result = reshaped(emitter, Tensor(var, shape, "float32", order, width), to, into_matrix)
            output = emitter.builder.emit_output(emitter.plain(result).expr if not result.features is not None else var)
        emitter.builder.emit_func_output(output)
    return result, sorted(emitter.work)


LAST = (0, 2, 3, 1)


def test_tokens_of_an_image_are_a_view() -> None:
    result, _ = reshape((1, 8, 4, 5), LAST, 8, (1, 8, 20))
    assert (result.shape, result.order, result.physical) == ((1, 8, 20), (0, 2, 1), (1, 20, 8))


def test_tokens_keep_their_padding() -> None:
    result, _ = reshape((1, 6, 4, 5), LAST, 8, (1, 6, 20))
    assert (result.order, result.physical) == ((0, 2, 1), (1, 20, 8))


def test_splitting_channels_is_a_view() -> None:
    result, kernels = reshape((1, 8, 4, 5), LAST, 8, (1, 2, 4, 4, 5))
    assert (result.order, result.physical) == ((0, 3, 4, 1, 2), (1, 4, 5, 2, 4))
    assert kernels == ["transpose"]  # only for the function's output


def test_flattening_pooled_channels_keeps_their_padding() -> None:
    result, _ = reshape((1, 6, 1, 1), LAST, 8, (1, 6))
    assert (result.order, result.physical) == ((0, 1), (1, 8))


def test_flattening_an_image_copies() -> None:
    result, kernels = reshape((1, 2, 2, 3), LAST, 2, (1, 12))
    assert result.plain
    assert kernels == ["transpose"]


def test_flattening_an_image_into_a_matrix_product_tells_the_features() -> None:
    result, _ = reshape((1, 2, 1, 3), LAST, 4, (1, 6), into_matrix=True)
    assert result.features is not None
    assert result.features.tolist() == [0, 3, -1, -1, 1, 4, -1, -1, 2, 5, -1, -1]
