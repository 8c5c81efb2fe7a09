"""Prices learned from students whose latency follows known rates."""

import numpy as np
import pytest

from latency_models.kernel import KernelTime
from nas.strategies.prices import N_FEATURES, Priced, Prices, features, guess, learn, parts_of
from search_spaces.cost import LayerCost

Layers = tuple[LayerCost, ...]


def conv(n_in: int, n_out: int, n_positions: int = 64) -> LayerCost:
    return LayerCost("c", "conv", n_in, n_out, 9, 1, n_positions, n_positions)


def linear(n_in: int, n_out: int) -> LayerCost:
    return LayerCost("l", "linear", n_in, n_out, 1, 1, 1, 1)


def students(n: int = 40) -> list[Layers]:
    generator = np.random.default_rng(0)
    found = []
    for _ in range(n):
        a, b, c = (int(w) for w in 16 * generator.integers(1, 9, size=3))
        found.append((conv(3, a, 256), conv(a, b), conv(b, c), linear(c, 10)))
    return found


def test_features_by_hand() -> None:
    values = features([conv(16, 20), conv(16, 20), linear(8, 4)])
    assert values[0] == 1
    # Two convolutions of 1 x 2 vector steps of 16 x 16, nine taps, 64 positions.
    assert values[1:6].tolist() == [2, 2 * 2 * 256 * 9 * 64, 2 * 16 * 20 * 9 * 64, 2 * (16 + 20) * 64, 2 * 16 * 20 * 9]
    assert values[16:21].tolist() == [1, 256, 32, 12, 32]
    assert values[6:16].tolist() == [0] * 10


def test_depthwise_layers_are_not_rounded_to_steps() -> None:
    depthwise = LayerCost("d", "depthwise", 20, 20, 9, 20, 64, 64)
    assert features([depthwise])[11:16].tolist() == [1, 20 * 9 * 64, 20 * 9 * 64, 40 * 64, 180]


def test_known_rates_are_recovered() -> None:
    rates = np.zeros(N_FEATURES)
    rates[[0, 1, 3, 16]] = 0.02, 0.03, 2e-8, 0.01
    seen = [Priced(layers, float(features(layers) @ rates)) for layers in students()]
    prices = learn(seen[:30])
    assert (prices.rates >= 0).all()
    assert prices.error < 0.01
    for one in seen[30:]:
        assert prices.ratio(one.layers) == pytest.approx(one.ratio, rel=0.03)


def test_the_error_is_what_unseen_students_show() -> None:
    generator = np.random.default_rng(1)
    rates = np.zeros(N_FEATURES)
    rates[[0, 3]] = 0.02, 2e-8
    noisy = [Priced(layers, float(features(layers) @ rates) * generator.lognormal(0, 0.2)) for layers in students(60)]
    assert 0.07 < learn(noisy).error < 0.25  # the median of |N(0, 0.2)| is 0.13


def test_noise_never_makes_a_price_negative() -> None:
    generator = np.random.default_rng(2)
    prices = learn([Priced(layers, float(generator.uniform(0.1, 1))) for layers in students(10)])
    assert (prices.rates >= 0).all()
    assert np.isfinite(prices.error)


def test_few_students_are_enough_and_none_are_not() -> None:
    one = students(1)[0]
    assert learn([Priced(one, 0.5)]).ratio(one) == pytest.approx(0.5, rel=0.02)
    with pytest.raises(ValueError, match="at least one"):
        learn([])


def test_a_prediction_is_positive() -> None:
    assert Prices(np.zeros(N_FEATURES), 0.0).ratio([conv(3, 4)]) == 1e-4


def test_kernels_belong_to_images_of_a_size_whichever_axis_their_channels_are_on() -> None:
    layers = (conv(1, 16, 64), conv(16, 20, 16), linear(20, 10))
    kernels = [
        KernelTime("a", "Conv", 3.0, shape=(1, 16, 8, 8)),
        KernelTime("b", "QLinearAdd", 1.0, shape=(1, 8, 8, 16)),
        KernelTime("c", "Conv", 2.0, shape=(1, 32, 4, 4)),
        KernelTime("d", "Gemm", 1.0, shape=(1, 10)),
        KernelTime("e", "Transpose", 1.0, shape=(1, 7, 7, 3)),
    ]
    assert parts_of(kernels, layers) == {64: 0.5, 16: 0.25, 1: 0.125}


def test_the_kernels_of_one_student_tell_which_layers_are_dear() -> None:
    rates = np.zeros(N_FEATURES)
    rates[[3, 16]] = 2e-8, 0.1
    seen, other = students(2)
    parts = {
        n: float(features([x for x in seen if x.n_positions == n])[1:] @ rates[1:]) / float(features(seen) @ rates)
        for n in (256, 64, 1)
    }
    wanted = float(features(other) @ rates)

    def error(one: Priced) -> float:
        return abs(learn([one]).ratio(other) / wanted - 1)

    ratio = float(features(seen) @ rates)
    assert error(Priced(seen, ratio, parts)) < 0.5 * error(Priced(seen, ratio))


def test_a_guess_shares_the_time_out_by_image_size() -> None:
    large, small = conv(16, 16, 256), conv(32, 32, 64)
    student = Priced((large, small), 0.5, {256: 0.7, 64: 0.3})
    latency = guess(student)
    assert latency((large, small)) == pytest.approx(0.5)
    assert latency((large,)) == pytest.approx(0.35)
    assert latency((small, small)) == pytest.approx(0.3)


def test_a_guess_without_kernel_times_is_that_of_usual_prices() -> None:
    latency = guess(Priced((conv(16, 16, 256), conv(32, 32, 64)), 0.5))
    assert 0 < latency((conv(16, 16, 256),)) < latency((conv(16, 16, 256), conv(32, 32, 64))) <= 0.5
