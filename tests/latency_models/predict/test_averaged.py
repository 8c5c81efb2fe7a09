import math

import numpy as np
from numpy.typing import NDArray

from latency_models.predict import averaged
from latency_models.predict.averaged import Averaged, average, slice_samples

GENERATOR = np.random.default_rng(0)
BLOCKS = (GENERATOR.standard_normal((15, 3)), GENERATOR.standard_normal((15, 2)))
VALUES = 1 + BLOCKS[0][:, 0] + np.sin(2 * BLOCKS[1][:, 1])


def averaged_of(n: int = 15) -> Averaged:
    return average([one[:n] for one in BLOCKS], VALUES[:n], np.random.default_rng(0))


def test_draws_follow_a_posterior_that_is_known() -> None:
    """A standard normal prior and a likelihood of variance 1/3 around 2 give 1.5 and variance 1/4."""

    def likelihood(point: NDArray[np.float64]) -> float:
        return -1.5 * float(np.square(point - 2).sum())

    draws = np.array(slice_samples(likelihood, np.zeros(2), 2000, 3, np.random.default_rng(0)))
    np.testing.assert_allclose(draws.mean(0), 1.5, atol=0.05)
    np.testing.assert_allclose(draws.var(0), 0.25, atol=0.03)


def test_where_nothing_else_is_likely_the_point_stays() -> None:
    start = np.array([0.3])
    draws = slice_samples(lambda p: 0.0 if p[0] == 0.3 else -math.inf, start, 3, 1, np.random.default_rng(0))
    assert draws == [start] * 3


def test_predictions_are_those_of_an_equal_mixture() -> None:
    found = averaged_of()
    assert len(found.drawn) == averaged.N_DRAWN
    assert len({one.settings for one in found.drawn}) == averaged.N_DRAWN
    near = [one[:4] + 0.1 for one in BLOCKS]
    each = [one.predict(near) for one in found.drawn]
    mean, deviation = found.predict(near)
    np.testing.assert_allclose(mean, np.mean([one for one, _ in each], 0))
    second = np.mean([np.square(one) + np.square(off) for one, off in each], 0)
    np.testing.assert_allclose(np.square(deviation), second - np.square(mean))


def test_with_many_samples_the_most_likely_hyper_parameters_are_taken() -> None:
    blocks = [np.tile(one, (3, 1)) for one in BLOCKS]
    found = average(blocks, np.tile(VALUES, 3), np.random.default_rng(0))
    assert found.drawn == ()
    np.testing.assert_array_equal(found.predict(blocks)[0], found.likeliest.predict(blocks)[0])


def test_refitted_knows_only_the_other_samples() -> None:
    found, few = averaged_of(), [one[:10] for one in BLOCKS]
    again = found.refitted(few, VALUES[:10], 5, np.random.default_rng(0))
    assert len(again.drawn) == averaged.N_DRAWN
    assert {one.settings for one in again.drawn}.isdisjoint(one.settings for one in found.drawn)
    assert all(len(one.targets) == 10 for one in (again.likeliest, *again.drawn))


def test_saved_and_loaded_it_is_the_same() -> None:
    found = averaged_of()
    again = Averaged.from_json(found.to_json())
    near = [one[:4] + 0.1 for one in BLOCKS]
    for one, other in zip(found.predict(near), again.predict(near), strict=True):
        np.testing.assert_array_equal(one, other)
