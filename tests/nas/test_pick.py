import pytest

from nas.pick import Limits
from tests.nas.records import make_latency


def test_overshoot_is_of_the_upper_end_and_the_worse_of_both_budgets() -> None:
    latency = make_latency(0.2, half_width=0.1)  # up to .22, that is 0.572 ms
    assert Limits(latency_budget_ratio=0.22).overshoot(latency) == pytest.approx(0.0)
    assert Limits(latency_budget_ratio=0.2).overshoot(latency) == pytest.approx(0.1)
    assert Limits(latency_budget_ratio=0.2, latency_budget_s=0.286e-3).overshoot(latency) == pytest.approx(1.0)


def test_limits_in_words() -> None:
    limits = Limits(max_accuracy_drop=0.005, latency_budget_s=2e-3)
    assert limits.in_words(True) == "a latency of at most 2.00 ms and an accuracy drop of at most 0.50 points"
