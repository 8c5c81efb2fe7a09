import json

import numpy as np
import pytest

from latency_models.errors import LatencyError
from latency_models.predict.costs import KernelCosts, _weights, learn_costs
from latency_models.predict.features import joined, table_of
from latency_models.predict.kernels import Kernel
from latency_models.predict.learned import learn
from latency_models.predict.predictor import Sample
from latency_models.predict.saved import predictor_from
from latency_models.predict.summed import Summed, learn_summed, sums_of
from tests.latency_models.predict import networks


def true_s(kernel: Kernel) -> float:
    """3 microseconds, and time for operations that are twice as slow where 32 channels are not filled."""
    uneven = 1.0 + (kernel.n_out % 32 != 0)
    return 3e-6 + 2e-11 * uneven * kernel.n_macs + 1e-10 * kernel.in_elements


DRAWN = networks.drawn(40)
TIMED = [[(kernel, true_s(kernel)) for kernel in one.kernels] for one in DRAWN]
UNSEEN = [kernel for one in networks.drawn(30, seed=1) for kernel in one.kernels]


def errors(costs: KernelCosts) -> np.ndarray:
    return np.abs(costs.seconds(UNSEEN) / [true_s(one) for one in UNSEEN] - 1)


def test_kernels_that_were_not_timed_are_predicted() -> None:
    costs = learn_costs(TIMED)
    assert costs is not None
    assert np.median(errors(costs)) < 0.03
    again = KernelCosts.from_json(json.loads(json.dumps(costs.to_json())))
    np.testing.assert_array_equal(again.seconds(UNSEEN), costs.seconds(UNSEEN))


def test_a_machine_that_was_slower_for_some_networks_is_seen_through() -> None:
    slowed = [[(k, s * (1.5 if i % 3 == 0 else 1.0)) for k, s in one] for i, one in enumerate(TIMED)]
    costs = learn_costs(slowed)
    assert costs is not None
    assert np.median(errors(costs)) < 0.05


def test_long_kernels_and_those_that_were_timed_often_count_more() -> None:
    found = _weights(np.array([1e-6, 4e-6, 1e-6, 1e-9]), np.array([1, 1, 4, 1]))
    np.testing.assert_allclose(found / found[0], [1, 2, 2, np.sqrt(0.1)])
    assert np.log(found).mean() == pytest.approx(0)


def test_too_few_kernels_teach_nothing() -> None:
    assert learn_costs(TIMED[:3]) is None
    assert learn_costs([]) is None


def test_a_network_is_a_constant_something_for_each_call_and_the_sum() -> None:
    costs = learn_costs(TIMED)
    assert costs is not None
    table = table_of(DRAWN)
    sums = sums_of(costs, table)
    assert sums[0, :2].tolist() == [1, len(DRAWN[0].kernels)]
    np.testing.assert_allclose(sums[0, 2], costs.seconds(DRAWN[0].kernels).sum())
    found = learn_summed(costs, sums, sums @ [1e-5, 0, 1.1])
    np.testing.assert_allclose(found.seconds(table), sums @ [1e-5, 0, 1.1], rtol=0.02)
    with pytest.raises(LatencyError, match="which kernels"):
        found.seconds(joined([table]))


def test_networks_are_predicted_from_kernels_of_others() -> None:
    """Five of which the whole was measured, and the kernels of forty that nobody ran as a whole."""
    few, unseen = networks.drawn(5, seed=2), networks.drawn(30, seed=1)
    samples = [Sample(one, 1e-5 + sum(map(true_s, one.kernels))) for one in few]
    learned = learn(samples, "board", singles=TIMED)
    assert isinstance(learned.mean, Summed)
    table = table_of(unseen)
    truth = np.array([1e-5 + sum(map(true_s, one.kernels)) for one in unseen])
    assert (np.abs(learned.predict(table).seconds / truth - 1) < 0.1).mean() > 0.9
    assert learned.of_others
    assert len(learned.scalings) == 1
    again = predictor_from(json.loads(json.dumps(learned.to_json())))
    np.testing.assert_array_equal(again.predict(table).seconds, learned.predict(table).seconds)
