import numpy as np

from nas.strategies.designs import EVEN, N_RANDOM, designs, nearest
from search_spaces.recipe import Site
from tests.nas.strategies.contract import check_strategy
from tests.search_spaces.spaces import space_of


def test_designs_keep_to_the_contract() -> None:
    space = space_of("resnet")
    found = check_strategy(
        lambda seed: designs(space, np.random.default_rng(seed)), list(space.sites.values()), len(EVEN) + 2
    )
    assert len(found) <= len(EVEN) + N_RANDOM
    assert len(set(found)) == len(found)
    assert all("precision" not in recipe for recipe in found)


def test_even_designs_come_first_and_cut_every_group_to_the_same_share() -> None:
    space = space_of("resnet")
    halves = designs(space, np.random.default_rng(0))[EVEN.index(0.5)]
    channels = [site for site in space.sites.values() if site.kind == "channels"]
    assert set(halves) == {site.name for site in channels}
    assert all(0.3 <= int(halves[site.name]) / int(site.unchanged) <= 0.7 for site in channels)


def test_the_nearest_width() -> None:
    site = Site("channels:a", "channels", (32, 24, 16, 8))
    assert [nearest(site, share) for share in (1.0, 0.8, 0.5, 0.1)] == [32, 24, 16, 8]


def test_a_space_without_groups_still_has_designs() -> None:
    space = space_of("resnet")
    others = [site for site in space.sites.values() if site.kind in ("depth", "factorize")]
    assert any(set(recipe) & {site.name for site in others} for recipe in designs(space, np.random.default_rng(0)))
