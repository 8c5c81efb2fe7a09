import numpy as np
from scipy.optimize import check_grad

from latency_models.predict import process
from latency_models.predict.process import Gram, fit, usual

GENERATOR = np.random.default_rng(0)
BLOCKS = (GENERATOR.standard_normal((15, 3)), GENERATOR.standard_normal((15, 2)))
VALUES = 1 + BLOCKS[0][:, 0] + np.sin(2 * BLOCKS[1][:, 1])


def test_the_gradient_is_that_of_the_objective() -> None:
    gram, center = Gram.of(BLOCKS, BLOCKS), usual(2).vector()
    trust = np.linspace(0.5, 1.5, 15)
    args = (gram, (VALUES - VALUES.mean()) / VALUES.std(), trust, center, np.ones_like(center))
    start = center + 0.3
    off = check_grad(
        lambda v: process._objective(v, *args)[0], lambda v: process._objective(v, *args)[1], start, epsilon=1e-6
    )
    assert off < 1e-4


def test_leaving_out_in_closed_form_is_leaving_out() -> None:
    fitted = fit(BLOCKS, VALUES)
    errors, deviations = fitted.left_out()
    kept = np.arange(15) != 4
    blocks = tuple(one[kept] for one in BLOCKS)
    part = process._conditioned(
        fitted.settings,
        blocks,
        Gram.of(blocks, blocks),
        fitted.targets[kept],
        fitted.trust[kept],
        fitted.level,
        fitted.scale,
    )
    mean, deviation = part.predict([one[4:5] for one in BLOCKS])
    np.testing.assert_allclose(VALUES[4] - mean[0], errors[4], rtol=1e-5)
    np.testing.assert_allclose(deviation[0], deviations[4], rtol=1e-5)


def test_more_likely_settings_are_found() -> None:
    gram, center = Gram.of(BLOCKS, BLOCKS), usual(2).vector()
    targets = (VALUES - VALUES.mean()) / VALUES.std()
    found = fit(BLOCKS, VALUES).settings.vector()
    before, after = (
        process._objective(v, gram, targets, np.ones(15), center, process.prior(2)[1])[0] for v in (center, found)
    )
    assert after < before - 0.5


def test_far_from_samples_the_deviation_grows() -> None:
    fitted = fit(BLOCKS, VALUES)
    near, far = fitted.predict(BLOCKS)[1].max(), fitted.predict([10 + one for one in BLOCKS])[1].min()
    assert far > 2 * near


def test_equal_samples_are_no_failure() -> None:
    means, deviations = fit(BLOCKS, np.full(15, 3.0)).predict(BLOCKS)
    np.testing.assert_allclose(means, 3.0, atol=1e-6)
    assert np.isfinite(deviations).all()


def test_one_wrong_sample_is_not_believed() -> None:
    generator = np.random.default_rng(1)
    block = generator.standard_normal((30, 1))
    values = block[:, 0] + 0.02 * generator.standard_normal(30)
    values[7] += 3.0
    fitted = fit((block,), values)
    assert fitted.trust[7] == fitted.trust.min() < 0.3
    grid = np.linspace(-1, 1, 9)[:, None]
    np.testing.assert_allclose(fitted.predict((grid,))[0], grid[:, 0], atol=0.25)


def test_a_sample_of_more_weight_is_followed_closer() -> None:
    block = np.linspace(-1, 1, 9)[:, None]
    values, weights = np.zeros(9), np.ones(9)
    values[4], weights[4] = 1.0, 100.0
    plain, weighted = (fit((block,), values, usual(1), 0, one).predict((block[4:5],))[0][0] for one in (None, weights))
    assert plain < 0.9 < weighted
