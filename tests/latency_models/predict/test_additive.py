import numpy as np

from latency_models.predict.additive import kernel_rows, learn_rates
from latency_models.predict.features import table_of
from latency_models.predict.kernels import Network
from tests.latency_models.predict import networks


def test_a_rule_is_found_and_no_rate_is_negative() -> None:
    table = networks.table(60)
    rates = learn_rates(table, networks.seconds_of(table))
    unseen = networks.table(60, seed=1)
    np.testing.assert_allclose(rates.seconds(unseen), networks.seconds_of(unseen), rtol=0.05)
    assert (rates.total >= 0).all()


def test_families_get_rates_of_their_own_where_that_helps() -> None:
    drawn = [networks.chain([8 * (1 + i % 4)] * (1 + i % 3), window=1 + 2 * (i % 2)) for i in range(72)]
    table = table_of(drawn)
    dense, pointwise = table.columns[:, 0], table.columns[:, 11]
    seconds = 1e-5 + 1e-5 * dense + 9e-5 * pointwise  # one rate for both cannot say this
    rates = learn_rates(table, seconds)
    assert np.abs(rates.seconds(table) / seconds - 1).max() < 0.1
    assert rates.single.any()


def test_single_kernels_count() -> None:
    network = networks.chain([16, 16])
    table, one = table_of([network]), table_of([Network((kernel,)) for kernel in network.kernels])
    times = np.array([1e-6, 8e-6, 1e-6, 1e-6])
    alone = learn_rates(table, np.array([12e-6]))
    told = learn_rates(table, np.array([12e-6]), kernel_rows([one], [times], [12e-6]))
    off = [np.abs(rates.seconds(one) - times).sum() for rates in (alone, told)]
    assert off[1] < off[0]
    assert kernel_rows([], [], []) is None
