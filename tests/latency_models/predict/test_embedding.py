import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from latency_models.errors import LatencyError
from latency_models.predict import process
from latency_models.predict.additive import Rates, learn_rates
from latency_models.predict.costs import kernel_blocks, learn_costs
from latency_models.predict.embedding import Embedding, Mean, embedding_of
from latency_models.predict.features import Table, joined, table_of
from latency_models.predict.kernels import Kernel, Network
from latency_models.predict.learned import learn_table
from latency_models.predict.scaling import scaled
from latency_models.predict.summed import Summed
from tests.latency_models.predict import networks

TABLE = networks.table(12)


def embedded(mean: Mean) -> Embedding:
    found = embedding_of(mean, TABLE)
    assert found is not None
    return found


def rates() -> Rates:
    return learn_rates(TABLE, networks.seconds_of(TABLE))


def summed() -> Summed:
    timed = [[(kernel, 3e-6 + 2e-11 * kernel.n_macs) for kernel in one.kernels] for one in networks.drawn(20, seed=2)]
    costs = learn_costs(timed)
    assert costs is not None
    return Summed(costs, np.array([0.0, 0.0, 1.0]))


def prior(embedding: Embedding, left: tuple[Kernel, ...], right: tuple[Kernel, ...]) -> NDArray[np.float64]:
    """Covariance of kernels before any was timed."""
    one, other = (scaled(embedding.scalings, kernel_blocks(part)) for part in (left, right))
    return process.Gram.of(one, other).covariance(embedding.settings)


def shares(embedding: Embedding) -> NDArray[np.float64]:
    assert TABLE.members is not None
    times = TABLE.members.toarray() * embedding.mean.kernel_seconds(TABLE.kernels)
    return np.asarray(times / times.sum(1, keepdims=True))


def test_products_of_rows_are_what_unsure_kernels_lend_to_latencies() -> None:
    embedding = embedded(rates())
    rows, weights = embedding.rows(TABLE), shares(embedding)
    assert len(embedding.points) == len(TABLE.kernels)
    among = prior(embedding, TABLE.kernels, TABLE.kernels)
    np.testing.assert_allclose(rows @ rows.T, weights @ among @ weights.T, rtol=1e-3)


def test_what_was_timed_is_no_longer_unsure() -> None:
    mean = summed()
    embedding, timed = embedded(mean), mean.costs.rest
    among = prior(embedding, TABLE.kernels, TABLE.kernels)
    blocks = scaled(embedding.scalings, kernel_blocks(TABLE.kernels))
    towards = process.Gram.of(blocks, timed.blocks).covariance(timed.settings)
    left = process.Gram.of(timed.blocks, timed.blocks).covariance(timed.settings)
    left += np.diag(math.exp(timed.settings.noise) / timed.trust)
    weights = shares(embedding)
    known = weights @ (among - towards @ np.linalg.solve(left, towards.T)) @ weights.T
    before = weights @ among @ weights.T
    found = embedding.rows(TABLE)
    # The points do not carry all of what was timed, so somewhat more stays unsure than would.
    assert (np.diag(found @ found.T) < 0.2 * np.diag(before)).all()
    assert np.corrcoef((found @ found.T).ravel(), known.ravel())[0, 1] > 0.9


def test_it_can_be_written_down() -> None:
    for mean in (rates(), summed()):
        embedding = embedded(mean)
        again = Embedding.from_json(json.loads(json.dumps(embedding.to_json())), mean)
        np.testing.assert_array_equal(again.rows(TABLE), embedding.rows(TABLE))


def test_tables_must_say_which_kernels_networks_have() -> None:
    assert embedding_of(rates(), joined([TABLE])) is None
    with pytest.raises(LatencyError, match="which kernels"):
        embedded(rates()).rows(joined([TABLE]))


def test_a_network_without_kernels_is_nowhere() -> None:
    rows = embedded(rates()).rows(table_of([Network(()), networks.chain([8])]))
    assert not rows[0].any()
    assert rows[1].any()


def test_kernels_that_are_slow_are_found_from_whole_networks() -> None:
    """Layers whose channels come in fours take a third of the time of others: no sum over all layers tells that."""

    def seconds_of(table: Table) -> NDArray[np.float64]:
        assert table.members is not None
        each = [5e-6 + 1e-11 * kernel.n_macs * (1 if kernel.n_out % 4 == 0 else 3) for kernel in table.kernels]
        return np.asarray(table.members @ np.array(each))

    measured, unseen = networks.table(30, seed=3), table_of(networks.drawn(60, seed=4))
    with_it = learn_table(measured, seconds_of(measured), "board")
    without = learn_table(joined([measured]), seconds_of(measured), "board")
    errors = [np.abs(np.log(one.predict(unseen).seconds / seconds_of(unseen))).mean() for one in (with_it, without)]
    assert errors[0] < 0.8 * errors[1]
