import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from latency_models.errors import LatencyError
from latency_models.latency import Visit
from latency_models.timing import RESOLUTION, Plan, latency_from_visits, samples_s, visit


@dataclass
class FakeTime:
    now_s: float = 0.0
    order: list[str] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now_s


@dataclass
class FakeRunner:
    """Takes the given seconds, one after the other; the last one for ever."""

    time: FakeTime
    name: str
    durations_s: list[float]

    def run(self) -> None:
        self.time.order.append(self.name)
        self.time.now_s += self.durations_s.pop(0) if len(self.durations_s) > 1 else self.durations_s[0]


@dataclass
class Evicted:
    """Takes longer for five inferences after another network's, less and less."""

    time: FakeTime
    name: str

    def run(self) -> None:
        since = next((i for i, name in enumerate(reversed(self.time.order)) if name != self.name), 5)
        self.time.order.append(self.name)
        self.time.now_s += 1.0 + 0.016 * max(0, 5 - since)


@dataclass
class Drifting:
    """Takes the next of seconds that it shares with the other network."""

    time: FakeTime
    durations_s: Iterator[float]

    def run(self) -> None:
        self.time.now_s += next(self.durations_s)


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def visit_of(candidate_s: list[float], anchor_s: list[float]) -> Visit:
    return Visit(tuple(candidate_s), tuple(anchor_s))


def test_twice_as_slow_is_exactly_two() -> None:
    clock = FakeTime()
    plan = Plan(n_pairs=8, max_s=1000.0)
    visits = visit({"a": FakeRunner(clock, "a", [0.5])}, FakeRunner(clock, "t", [0.25]), plan, clock)
    assert visits == {"a": visit_of([0.5] * 8, [0.25] * 8)}
    latency = latency_from_visits([visits["a"]], "cpu-fake-1t", {"processor": "none"}, generator())
    assert latency.ratio == 2.0
    assert latency.median_s == 0.5
    assert (latency.ratio_low, latency.ratio_high) == (
        math.exp(math.log(2) - RESOLUTION),
        math.exp(math.log(2) + RESOLUTION),
    )
    assert (latency.source, latency.target, latency.n_samples) == ("measured", "cpu-fake-1t", 8)
    assert latency.environment == {"processor": "none"}


def test_blocks_alternate_and_candidates_share_each_round_and_the_order_turns_half_way() -> None:
    clock = FakeTime()
    plan = Plan(n_pairs=8, n_block=2, n_settle=1, warm_up_window=1, warm_up_max_s=1000.0, max_s=1000.0)
    candidates = {name: FakeRunner(clock, name, [0.5]) for name in "ab"}
    visit(candidates, FakeRunner(clock, "t", [0.5]), plan, clock)
    warm_up, sampling = "".join(clock.order[:6]), "".join(clock.order[6:])
    assert warm_up == "ttaabb"
    assert sampling == 2 * "aaabbbttt" + 2 * "tttbbbaaa"


def test_the_order_turns_when_half_of_the_time_is_spent() -> None:
    clock = FakeTime()
    plan = Plan(n_pairs=64, n_settle=0, warm_up_window=1, warm_up_max_s=1000.0, max_s=8.0)
    visit({"a": FakeRunner(clock, "a", [1.0])}, FakeRunner(clock, "t", [1.0]), plan, clock)
    assert "".join(clock.order[4:]) == "atat" + "tata"


def test_weights_that_the_other_network_drives_out_of_the_caches_favour_neither() -> None:
    """After the other's, a network's first inference takes 8 % longer, its fifth 2 %."""
    clock = FakeTime()
    anchor, candidate = Evicted(clock, "t"), Evicted(clock, "a")
    one = visit({"a": candidate}, anchor, Plan(n_pairs=52, max_s=1000.0), clock)["a"]
    n_alike = sum(abs(a / b - 1) < 0.001 for a, b in zip(one.candidate_s, one.anchor_s, strict=True))
    assert n_alike >= 44  # all but the first block (after its own warm-up) and the one where the order turns
    latency = latency_from_visits([one], "", {}, generator())
    assert (latency.ratio_low, latency.ratio_high) == pytest.approx((math.exp(-RESOLUTION), math.exp(RESOLUTION)))


def test_a_steady_drift_cancels() -> None:
    clock = FakeTime()
    drifting = [1.001**i for i in range(1000)]
    plan = Plan(n_pairs=64, n_settle=0, warm_up_window=1, warm_up_tolerance=1.0, max_s=1e9)
    shared = iter(drifting)
    one = visit({"a": Drifting(clock, shared)}, Drifting(clock, shared), plan, clock)["a"]
    log_ratios = np.log(one.candidate_s) - np.log(one.anchor_s)
    assert np.median(log_ratios) == pytest.approx(0.0, abs=1e-9)
    assert abs(log_ratios).min() == pytest.approx(4 * math.log(1.001))


def test_warm_up_goes_on_until_two_windows_agree() -> None:
    clock = FakeTime()
    anchor = FakeRunner(clock, "t", [8.0, 8.0, 4.0, 4.0, 2.0, 2.0, 2.0])
    plan = Plan(n_pairs=1, n_settle=0, warm_up_window=2, warm_up_max_s=1000.0, max_s=1000.0)
    visits = visit({"a": FakeRunner(clock, "a", [1.0])}, anchor, plan, clock)
    assert visits["a"].anchor_s == (2.0,)
    assert clock.order.count("t") == 8 + 1


def test_warm_up_ends_at_its_limit_where_nothing_is_stable() -> None:
    clock = FakeTime()
    anchor = FakeRunner(clock, "t", [2.0**i for i in range(20)])
    plan = Plan(n_pairs=1, n_settle=0, warm_up_window=1, warm_up_max_s=7.0, max_s=1000.0)
    visits = visit({"a": FakeRunner(clock, "a", [1.0])}, anchor, plan, clock)
    assert visits["a"].anchor_s == (8.0,)


def test_fast_inferences_are_averaged_within_a_sample() -> None:
    clock = FakeTime()
    plan = Plan(n_pairs=2, n_settle=0, warm_up_window=1, warm_up_max_s=9.0, min_sample_s=1.0, max_s=1000.0)
    visits = visit({"a": FakeRunner(clock, "a", [0.25])}, FakeRunner(clock, "t", [2.0]), plan, clock)
    assert visits["a"] == visit_of([0.25, 0.25], [2.0, 2.0])
    assert clock.order.count("a") == 2 + 2 * 4


def test_samples_of_one_runner_are_its_inferences_alone() -> None:
    time = FakeTime()
    plan = Plan(n_pairs=6, n_block=4, n_settle=1, warm_up_window=2, warm_up_max_s=9.0, max_s=100.0)
    assert samples_s(FakeRunner(time, "a", [1.0]), plan, time) == (1.0,) * 6
    assert time.order == ["a"] * (2 * 2 + 1 + 4 + 1 + 2)


def test_samples_of_one_runner_end_at_the_time_limit() -> None:
    time = FakeTime()
    assert samples_s(FakeRunner(time, "a", [2.0]), Plan(max_s=1.0), time) == (2.0,)


def test_slow_candidates_stop_at_the_time_limit_with_at_least_one_pair() -> None:
    clock = FakeTime()
    visits = visit({"a": FakeRunner(clock, "a", [4.0])}, FakeRunner(clock, "t", [4.0]), Plan(max_s=1.0), clock)
    assert visits["a"] == visit_of([4.0], [4.0])


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_samples_that_are_no_durations_are_refused(bad: float) -> None:
    with pytest.raises(LatencyError, match="not a positive, finite"):
        latency_from_visits([visit_of([1.0, bad], [1.0, 1.0])], "", {}, generator())
    with pytest.raises(LatencyError, match="not a positive, finite"):
        latency_from_visits([visit_of([1.0, 1.0], [1.0, bad])], "", {}, generator())
    clock = FakeTime()
    with pytest.raises(LatencyError, match="not a positive, finite"):
        visit({"a": FakeRunner(clock, "a", [bad])}, FakeRunner(clock, "t", [1.0]), Plan(n_pairs=1), clock)


def test_no_visit_is_refused() -> None:
    with pytest.raises(LatencyError, match="no timing samples"):
        latency_from_visits([], "", {}, generator())


def test_the_spread_between_visits_is_inside_the_interval() -> None:
    visits = [visit_of([0.175] * 64, [1.0] * 64), visit_of([0.235] * 64, [1.0] * 64)]
    latency = latency_from_visits(visits, "", {}, generator())
    assert latency.ratio == pytest.approx(math.sqrt(0.175 * 0.235))
    assert latency.ratio_low <= 0.175
    assert latency.ratio_high >= 0.235


def test_a_long_visit_weighs_no_more_than_a_short_one() -> None:
    visits = [visit_of([1.0] * 100, [1.0] * 100), visit_of([4.0] * 4, [1.0] * 4), visit_of([2.0] * 4, [1.0] * 4)]
    assert latency_from_visits(visits, "", {}, generator()).ratio == pytest.approx(2.0)


def test_one_of_nine_visits_may_lie_outside_at_either_end() -> None:
    visits = [visit_of([ratio], [1.0]) for ratio in (0.1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 9.0)]
    latency = latency_from_visits(visits, "", {}, generator())
    assert 0.9 < latency.ratio_low < 1.0 < latency.ratio_high < 1.1


def test_outliers_do_not_move_the_median_and_seeds_repeat() -> None:
    candidate_s = [2.0] * 60 + [50.0] * 4
    one = [visit_of(candidate_s, [1.0] * 64)]
    latency = latency_from_visits(one, "", {}, generator())
    assert latency.ratio == pytest.approx(2.0)
    assert latency == latency_from_visits(one, "", {}, generator())


def test_seconds_are_ratios_of_one_anchor() -> None:
    latency = latency_from_visits([visit_of([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])], "", {}, generator())
    assert latency.median_s == 0.5 * 4.0
    assert latency.low_s == latency.ratio_low * 4.0
    assert latency.high_s == latency.ratio_high * 4.0


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_intervals_of_a_null_experiment_hold_one(correlation: float) -> None:
    noise = np.random.default_rng(3)
    n_held, n_trials = 0, 200
    for _ in range(n_trials):
        steps = noise.standard_normal(64) * 0.1 * math.sqrt(1 - correlation**2)
        log_ratio = np.zeros(64)
        log_ratio[0] = noise.standard_normal() * 0.1
        for i in range(1, 64):
            log_ratio[i] = correlation * log_ratio[i - 1] + steps[i]
        latency = latency_from_visits([visit_of(np.exp(log_ratio).tolist(), [1.0] * 64)], "", {}, noise)
        n_held += latency.ratio_low <= 1 <= latency.ratio_high
        assert latency.ratio_high - latency.ratio_low < 0.3
    assert 0.89 <= n_held / n_trials <= 0.99


def test_a_plan_without_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        Plan(n_pairs=0)
