"""Which blocks are dropped first."""

from nas.strategies.depths import LEVELS, depths
from search_spaces.recipe import Recipe, Site

BLOCKS = {name: Site(f"depth:{name}", "depth", ("keep", "drop")) for name in "abcd"}
WIDTH = Site("channels:w", "channels", (32, 16))
SAVED = {"a": 0.2, "b": 0.2, "c": 0.05, "d": 0.2}
LOSSES = {"depth:a": {"drop": 0.09}, "depth:b": {"drop": 0.01}, "depth:c": {"drop": 0.0025}, "depth:d": {"drop": 9.0}}
START = Recipe.of({"channels:w": 16})


def latency(recipe: Recipe) -> float:
    """Of 1 at the start, less what each dropped block takes."""
    return 1.0 - sum(SAVED[name] for name, site in BLOCKS.items() if site.name in recipe)


def dropped(recipe: Recipe) -> str:
    return "".join(name.removeprefix("depth:") for name in recipe)


def test_what_loses_least_for_its_time_goes_first() -> None:
    # Per share of latency: b loses .1 / .2, c .05 / .05, a .3 / .2. b alone saves .2; all three save .45, all .65.
    found = depths([*BLOCKS.values(), WIDTH], LOSSES, latency, START)
    assert LEVELS == (0.15, 0.35, 0.55)
    assert [dropped(recipe) for recipe in found] == ["", "b", "abc", "abcd"]


def test_a_level_out_of_reach_is_left_out() -> None:
    known = {name: LOSSES[name] for name in ("depth:b", "depth:c")}
    assert [dropped(recipe) for recipe in depths(list(BLOCKS.values()), known, latency, START)] == ["", "b"]


def test_without_blocks_nothing_is_dropped() -> None:
    assert depths([WIDTH], {"channels:w": {16: 0.1}}, latency, START) == [Recipe()]
