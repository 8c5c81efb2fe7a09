"""Which students are worth training."""

from nas.strategies.training import Candidate, worth_training


def at(name: str, ratio: float, score: float, label: str = "cpu") -> Candidate:
    return Candidate(name, {label: [(ratio, score)]})


ANYWHERE = {"cpu": 1.0}


def test_the_one_comes_first_whose_training_covers_most() -> None:
    # Of 0.98, 0.95 is expected to become 0.98 - 0.3 * 0.03 - 0.2 * 0.6 * 0.05 = 0.965 and to add 0.8 * 0.015.
    candidates = [at("near", 0.4, 0.97), at("far", 0.2, 0.95), at("hopeless", 0.1, 0.5)]
    assert worth_training(candidates, 0.98, 0.93, ANYWHERE, 1, n_steps=83.3) == ["far"]
    # Then `near` adds 0.6 * 0.001; `hopeless` becomes 0.83, which is below the floor, and adds nothing.
    assert worth_training(candidates, 0.98, 0.93, ANYWHERE, 3, n_steps=83.3) == ["far", "near"]


def test_what_is_as_near_as_training_brings_is_left_alone() -> None:
    candidates = [at("far", 0.2, 0.95), at("near", 0.4, 0.973)]
    assert worth_training(candidates, 0.98, 0.93, ANYWHERE, 2) == ["far"]
    assert worth_training(candidates, 0.98, 0.93, ANYWHERE, 2, n_steps=3000) == ["far", "near"]


def test_of_twins_one_is_trained() -> None:
    twins = [at("a", 0.20, 0.95), at("b", 0.201, 0.95), at("small", 0.1, 0.93)]
    assert worth_training(twins, 0.98, 0.93, ANYWHERE, 2) == ["a", "small"]


def test_what_is_trained_keeps_to_the_limit() -> None:
    candidates = [at("slow", 0.6, 0.95), at("fast", 0.3, 0.90)]
    assert worth_training(candidates, 0.98, 0.93, {"cpu": 0.5}, 2) == ["fast"]


def test_where_all_stay_below_the_floor_the_most_accurate_are_trained() -> None:
    candidates = [at("worse", 0.2, 0.3), at("better", 0.3, 0.5)]
    assert worth_training(candidates, 0.98, 0.93, ANYWHERE, 2) == ["better", "worse"]


def test_what_others_cover_already_is_not_trained_for() -> None:
    candidates, others = [at("a", 0.5, 0.95), at("b", 0.1, 0.93)], [at("known", 0.4, 0.979)]
    assert worth_training(candidates, 0.98, 0.93, ANYWHERE, 2, 1, others) == ["b"]


def test_every_target_counts() -> None:
    both = Candidate("both", {"cpu": [(0.3, 0.95)], "arm": [(0.3, 0.95)]})
    here = Candidate("here", {"cpu": [(0.2, 0.95)], "arm": [(0.9, 0.95)]})
    assert worth_training([here, both], 0.98, 0.93, {"cpu": 1.0, "arm": 0.5}, 1) == ["both"]


def test_nothing_to_choose_from() -> None:
    assert worth_training([], 0.98, 0.93, ANYWHERE, 3) == []
