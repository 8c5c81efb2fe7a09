"""What every predictor must do. A test file subclasses `PredictorContract`."""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from latency_models.errors import LatencyError
from latency_models.predict.features import Table, table_of
from latency_models.predict.predictor import Predictor
from latency_models.predict.saved import load, save
from tests.latency_models.predict import networks


class PredictorContract(ABC):
    n_samples: int

    @abstractmethod
    def learn(self, table: Table, seconds: NDArray[np.float64]) -> Predictor:
        """A predictor of target `board` in environment {"cpu": "x"}."""

    @pytest.fixture(scope="class")
    def predictor(self) -> Predictor:
        table = networks.table(self.n_samples)
        return self.learn(table, networks.seconds_of(table, 0.02))

    def test_unseen_networks_are_near(self, predictor: Predictor) -> None:
        unseen = networks.table(60, seed=1)
        off = np.abs(predictor.predict(unseen).seconds / networks.seconds_of(unseen) - 1)
        assert np.median(off) < 0.02
        assert off.max() < 0.15

    def test_the_point_lies_within_its_interval(self, predictor: Predictor) -> None:
        said = predictor.predict(networks.table(60, seed=1))
        assert (said.low_s > 0).all()
        assert (said.low_s < said.seconds).all()
        assert (said.seconds < said.high_s).all()

    def test_intervals_hold_most_latencies_and_are_narrow(self) -> None:
        unseen, inside, widths = networks.table(200, seed=2), [], []
        measured = networks.seconds_of(unseen, 0.02, seed=3)
        for seed in (10, 11, 12, 13):
            table = networks.table(self.n_samples, seed)
            said = self.learn(table, networks.seconds_of(table, 0.02, seed)).predict(unseen)
            inside.append(((said.low_s <= measured) & (measured <= said.high_s)).mean())
            widths.append(np.median(said.high_s / said.low_s))
        assert 0.85 <= np.mean(inside) <= 0.97
        assert np.mean(widths) < 1.15

    def test_a_far_larger_network_is_out_of_range(self, predictor: Predictor) -> None:
        said = predictor.predict(table_of([networks.chain([400] * 6), networks.chain([20, 20])]))
        assert said.out_of_range.tolist() == [True, False]

    def test_saved_and_loaded_it_says_the_same(self, predictor: Predictor, tmp_path: Path) -> None:
        save(predictor, tmp_path / "p.json")
        again, unseen = load(tmp_path / "p.json"), networks.table(20, seed=4)
        ours, theirs = predictor.predict(unseen), again.predict(unseen)
        for name in ("seconds", "low_s", "high_s", "out_of_range"):
            np.testing.assert_array_equal(getattr(theirs, name), getattr(ours, name))
        assert (again.target, again.environment, again.known_error) == ("board", {"cpu": "x"}, predictor.known_error)

    def test_the_same_samples_give_the_same_predictor(self, predictor: Predictor) -> None:
        table = networks.table(self.n_samples)
        assert self.learn(table, networks.seconds_of(table, 0.02)).to_json() == predictor.to_json()

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1e-3])
    def test_what_is_no_latency_is_refused(self, value: float) -> None:
        table = networks.table(self.n_samples)
        seconds = networks.seconds_of(table)
        seconds[3] = value
        with pytest.raises(LatencyError, match="Measure that network again"):
            self.learn(table, seconds)

    def test_too_few_samples_are_refused(self) -> None:
        table = networks.table(4)
        with pytest.raises(LatencyError, match="too few"):
            self.learn(table, networks.seconds_of(table))
