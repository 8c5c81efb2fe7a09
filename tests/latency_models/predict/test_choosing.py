from collections.abc import Sequence

import numpy as np
import pytest

from latency_models.predict.choosing import choose, smoother
from latency_models.predict.features import table_of
from latency_models.predict.learned import blocks_of, learn_table, scalings_of
from latency_models.predict.process import fit, usual
from latency_models.predict.scaling import scaled
from tests.latency_models.predict import networks

CANDIDATES = networks.table(120, seed=3)


def test_choices_are_different_and_the_same_for_a_seed() -> None:
    chosen = choose(CANDIDATES, 12, 7)
    assert len(set(chosen)) == 12
    assert choose(CANDIDATES, 12, 7) == chosen
    assert choose(CANDIDATES, 5, 7) == chosen[:5]


def test_chosen_samples_leave_less_unknown_than_drawn_ones() -> None:
    raw = blocks_of(CANDIDATES)
    blocks = scaled(scalings_of(raw), raw)

    def unknown(picked: Sequence[int]) -> float:
        """Mean variance of all candidates once some are measured."""
        part = [one[list(picked)] for one in blocks]
        fitted = fit(part, np.arange(len(picked), dtype=np.float64), usual(2), n_steps=0)
        return float(np.square(fitted.predict(blocks)[1] / fitted.scale).mean())

    drawn = [unknown(np.random.default_rng(seed).permutation(120)[:8].tolist()) for seed in range(20)]
    assert unknown(choose(CANDIDATES, 8, 0)) < min(drawn)


def test_beside_other_devices_the_curved_terms_count_less() -> None:
    settings = usual(3)
    smooth = smoother(settings)
    assert np.exp(smooth.curve) == pytest.approx(0.3 * np.exp(settings.curve))
    assert (smooth.linear, smooth.length, smooth.noise) == (settings.linear, settings.length, settings.noise)


def test_what_was_measured_is_not_measured_again() -> None:
    odd = table_of([networks.chain([40, 40, 40, 40]), *networks.drawn(20, seed=4)])
    learned = learn_table(CANDIDATES, networks.seconds_of(CANDIDATES), "board")
    first = choose(odd, 1, 0, learned=learned)[0]
    again = choose(odd, 1, 0, learned=learned, measured=odd.rows([first] * 3))[0]
    assert again != first


def test_more_than_there_are_cannot_be_chosen() -> None:
    with pytest.raises(ValueError, match="121 of 120"):
        choose(CANDIDATES, 121, 0)
