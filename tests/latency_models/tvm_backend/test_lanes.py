import pytest

from latency_models.target import Processor
from latency_models.tvm_backend.lanes import padded_width


@pytest.mark.parametrize(
    ("vector_bits", "n", "width"),
    [(512, 3, 3), (512, 8, 8), (512, 9, 16), (512, 12, 16), (512, 16, 16), (512, 24, 32), (512, 100, 112),
     (128, 3, 3), (128, 9, 12), (128, 10, 12), (128, 24, 24), (128, 61, 64), (256, 9, 16), (256, 24, 24)],
)  # fmt: skip
def test_float32_widths(vector_bits: int, n: int, width: int) -> None:
    assert padded_width(n, Processor(vector_bits=vector_bits)) == width


def test_half_precision_has_twice_the_lanes() -> None:
    assert padded_width(20, Processor(vector_bits=512), bits=16) == 32
