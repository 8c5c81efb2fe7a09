"""Which students are worth training."""

from nas.strategies.training import Candidate, worth_training


def at(name: str, ratio: float, score: float, label: str = "cpu") -> Candidate:
    return Candidate(name, {label: [(ratio, score)]})


ANYWHERE = {"cpu": 1.0}
FAR, NEAR, HOPELESS = at("far", 0.2, 0.95), at("near", 0.4, 0.974), at("hopeless", 0.1, 0.5)


def test_the_one_whose_training_covers_most_comes_first() -> None:
    # After 400 batches 0.95 is expected to become 0.98 - 8 / 20 * 0.03 - (0.06 + 20 / 400) * 0.05 = 0.9625 and to add
    # 0.2 * 0.0125; 0.974 becomes 0.9721, so it stays; 0.5 becomes 0.7825, which is below the floor.
    assert worth_training([NEAR, FAR, HOPELESS], 0.98, 0.93, ANYWHERE, 3, 400) == ["far"]


def test_how_many_hangs_on_the_time() -> None:
    small, middle = at("small", 0.1, 0.94), at("middle", 0.5, 0.96)
    # 200 batches: small alone .98 - 8 / 200**.5 * .04 - .16 * .05 = .9494, so that it adds .4 * .0094 = .0037; both
    # would have 100 each, of which small has no gain: .98 - .8 * .04 - .25 * .05 = .9355.
    assert worth_training([small, middle], 0.98, 0.93, ANYWHERE, 8, 200) == ["small"]
    # 1600: small alone becomes .9685, above middle; with 800 each they become .9645 and .9701, and both together cover
    # .9 * .0385 = .0347 against .4 * .0345 + .5 * .0401 = .0339.
    assert worth_training([small, middle], 0.98, 0.93, ANYWHERE, 1, 1600) == ["small"]
    # A training that long is split nevertheless, as what is expected may not come.
    assert worth_training([small, middle], 0.98, 0.93, ANYWHERE, 8, 1600) == ["small", "middle"]


def test_of_twins_one_is_trained() -> None:
    twins = [at("a", 0.20, 0.95), at("b", 0.201, 0.95), at("small", 0.1, 0.93)]
    assert worth_training(twins, 0.98, 0.93, ANYWHERE, 8, 2500) == ["a", "small"]


def test_what_is_trained_keeps_to_the_limit() -> None:
    candidates = [at("slow", 0.6, 0.95), at("fast", 0.3, 0.94)]
    assert worth_training(candidates, 0.98, 0.93, {"cpu": 0.5}, 8, 1500) == ["fast"]


def test_where_all_stay_below_the_floor_the_most_accurate_are_trained() -> None:
    candidates = [at("worse", 0.2, 0.3), at("better", 0.3, 0.5)]
    assert worth_training(candidates, 0.98, 0.93, ANYWHERE, 8, 300) == ["better"]
    assert worth_training(candidates, 0.98, 0.93, ANYWHERE, 8, 1300) == ["better", "worse"]


def test_every_target_counts() -> None:
    both = Candidate("both", {"cpu": [(0.3, 0.95)], "arm": [(0.3, 0.95)]})
    here = Candidate("here", {"cpu": [(0.2, 0.95)], "arm": [(0.9, 0.95)]})
    assert worth_training([here, both], 0.98, 0.93, {"cpu": 1.0, "arm": 0.5}, 8, 400) == ["both"]


def test_nothing_to_choose_from() -> None:
    assert worth_training([], 0.98, 0.93, ANYWHERE, 3, 400) == []
