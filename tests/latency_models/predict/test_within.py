import numpy as np
import pytest

from latency_models.predict.kernels import Network
from latency_models.predict.predictor import Sample
from latency_models.predict.within import beyond, shares, transferred
from tests.latency_models.predict import networks

SECONDS = [[1e-5 * (i + j + 1) for j in range(i % 4 + 2)] for i in range(12)]
"""Of the kernels of twelve networks."""


def sample(i: int, seconds: float) -> Sample:
    kernels = networks.chain([8] * len(SECONDS[i])).kernels[: len(SECONDS[i])]
    return Sample(Network(kernels), seconds, tuple(zip(kernels, SECONDS[i], strict=True)))


def measured(constant_s: float, call_s: float, factor: float) -> list[Sample]:
    """Networks that take that, and one that was disturbed."""
    times = [constant_s + call_s * len(one) + factor * sum(one) for one in SECONDS]
    return [sample(i, seconds * (3 if i == 5 else 1)) for i, seconds in enumerate(times)]


def test_what_networks_take_beyond_their_kernels_is_found_beside_a_disturbed_one() -> None:
    np.testing.assert_allclose(beyond(measured(2e-5, 3e-6, 1.1)), [2e-5, 3e-6, 0.1], rtol=0.02)


def test_kernels_that_take_more_by_themselves_are_no_reason_to_take_less_in_other_networks() -> None:
    assert beyond(measured(0.0, 0.0, 0.8)).tolist() == [0.0, 0.0, 0.0]


def test_kernels_are_brought_to_their_networks_latency() -> None:
    (found,) = shares([sample(0, 6e-5)])
    assert [seconds for _, seconds in found] == pytest.approx([2e-5, 4e-5])


def test_kernels_of_another_teacher_take_more_by_the_share_of_the_measured_ones() -> None:
    known, single = measured(2e-5, 3e-6, 1.1), sample(3, 1.0).kernel_s
    *own, other = transferred(known, [single])
    assert [seconds for _, seconds in other] == pytest.approx([1.1 * seconds for seconds in SECONDS[3]], rel=0.02)
    assert sum(seconds for _, seconds in own[0]) == pytest.approx(known[0].seconds - 2e-5 - 2 * 3e-6, rel=0.02)
    assert transferred([], [single]) == [list(single)]
