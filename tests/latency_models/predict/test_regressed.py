from typing import final

import numpy as np
from numpy.typing import NDArray

from latency_models.predict.features import Table
from latency_models.predict.predictor import Predictor
from latency_models.predict.regressed import regress, source_logarithms
from tests.latency_models.predict import networks
from tests.latency_models.predict.contract import PredictorContract


@final
class TestRegressed(PredictorContract):
    n_samples = 250

    def learn(self, table: Table, seconds: NDArray[np.float64]) -> Predictor:
        return regress(table, seconds, "board", {"cpu": "x"})


def test_sources_are_columns_of_log_seconds() -> None:
    table = networks.table(120)
    seconds = networks.seconds_of(table)
    sources = [regress(table, seconds, "a"), regress(table, 10 * seconds, "b")]
    said = source_logarithms(sources, table.rows([0, 1, 2]))
    np.testing.assert_allclose(said[:, 1] - said[:, 0], np.log(10), rtol=1e-9)
    assert source_logarithms([], table).shape == (120, 0)
