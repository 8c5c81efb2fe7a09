from dataclasses import replace

import pytest

from nas.pick import Candidate, Limits
from tests.nas.records import MEMBERS, make_latency


def test_overshoot_is_of_the_upper_end_and_the_worse_of_both_budgets() -> None:
    latency = make_latency(0.2, half_width=0.1)  # up to .22, that is 0.572 ms
    assert Limits(latency_budget_ratio=0.22).overshoot(latency) == pytest.approx(0.0)
    assert Limits(latency_budget_ratio=0.2).overshoot(latency) == pytest.approx(0.1)
    assert Limits(latency_budget_ratio=0.2, latency_budget_s=0.286e-3).overshoot(latency) == pytest.approx(1.0)


def test_limits_in_words() -> None:
    limits = Limits(max_accuracy_drop=0.005, latency_budget_s=2e-3)
    assert limits.in_words(True) == "a latency of at most 2.00 ms and an accuracy drop of at most 0.50 points"


def test_a_message_says_of_an_estimate_that_it_is_one() -> None:
    predicted = replace(make_latency(0.2, half_width=0.1), source="predicted", known_error=0.09)
    assert Candidate(MEMBERS[0], predicted, 0.01).facts(True) == (
        f"{MEMBERS[0].id}: ~0.520 ms (up to 0.572 ms, estimate: median error 9 % where a clock could judge it), "
        "~20.0 % of the teacher's latency (up to 22.0 %), accuracy drop 1.00 points"
    )
