from typing import final

import numpy as np
from numpy.typing import NDArray

from latency_models.predict.features import Table, table_of
from latency_models.predict.learned import interval_width, learn, learn_table
from latency_models.predict.predictor import Predictor, Sample
from latency_models.predict.regressed import regress
from tests.latency_models.predict import networks
from tests.latency_models.predict.contract import PredictorContract


@final
class TestLearned(PredictorContract):
    n_samples = 40

    def learn(self, table: Table, seconds: NDArray[np.float64]) -> Predictor:
        return learn_table(table, seconds, "board", {"cpu": "x"})


def test_samples_with_kernel_times_are_learned_from() -> None:
    drawn = networks.drawn(8)
    seconds = networks.seconds_of(table_of(drawn))
    samples = [
        Sample(one, float(value), tuple((kernel, 5e-6 + 1e-11 * kernel.n_macs) for kernel in one.kernels))
        for one, value in zip(drawn, seconds, strict=True)
    ]
    unseen = networks.table(40, seed=1)
    off = np.abs(learn(samples, "board").predict(unseen).seconds / networks.seconds_of(unseen) - 1)
    assert np.median(off) < 0.05


def test_another_device_tells_what_few_samples_cannot() -> None:
    many, few, unseen = networks.table(150, seed=5), networks.table(10, seed=6), networks.table(60, seed=7)

    def odd(table: Table) -> NDArray[np.float64]:  # pays for channels between two steps of 32, and for nothing else
        return np.asarray(1e-4 * (table.columns[:, 4] / table.columns[:, 1]) ** 1.5)

    source = regress(many, odd(many), "other")
    alone = learn_table(few, 2 * odd(few), "board").predict(unseen).seconds
    helped = learn_table(few, 2 * odd(few), "board", sources=[source], around=unseen).predict(unseen).seconds
    error_alone, error_helped = (np.abs(np.log(one / (2 * odd(unseen)))).mean() for one in (alone, helped))
    assert error_helped < 0.7 * error_alone


def test_a_family_that_was_never_measured_is_out_of_range() -> None:
    table = networks.table(20)
    pointwise = table_of([networks.chain([16, 16], window=1), networks.chain([16, 16])])
    assert learn_table(table, networks.seconds_of(table), "board").predict(pointwise).out_of_range.tolist() == [
        True,
        False,
    ]


def test_an_interval_is_as_wide_as_students_distribution_says() -> None:
    # 95 % point with 19 degrees of freedom
    np.testing.assert_allclose(interval_width(np.array([1.0, -1.0] * 10)), 1.729133, rtol=1e-6)
