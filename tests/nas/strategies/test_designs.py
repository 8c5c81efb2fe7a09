import numpy as np

from nas.strategies.designs import EVEN, N_RANDOM, designs, nearest
from search_spaces.recipe import Recipe, Site
from tests.nas.strategies.contract import check_strategy
from tests.search_spaces.spaces import space_of

BLOCK = "depth:block1"


def test_designs_keep_to_the_contract() -> None:
    space = space_of("resnet")
    found = check_strategy(
        lambda seed: designs(space, np.random.default_rng(seed)), list(space.sites.values()), N_RANDOM + 5
    )
    assert len(found) <= len(EVEN) + N_RANDOM
    assert len(set(found)) == len(found)
    assert all("precision" not in recipe for recipe in found)


def test_even_designs_come_first_and_cut_what_one_layer_reads_to_the_same_share() -> None:
    space = space_of("resnet")
    channels = [site for site in space.sites.values() if site.kind == "channels"]
    halves, inner, *_ = designs(space, np.random.default_rng(0))
    assert set(halves) == {site.name for site in channels}
    assert all(0.3 <= int(halves[site.name]) / int(site.unchanged) <= 0.7 for site in channels)
    assert dict(inner) == {"channels:block1.conv1": 16, "channels:stage.0.conv1": 8}
    assert all(inner[name] == halves[name] for name in inner)


def test_with_fewer_blocks_the_same_widths() -> None:
    space = space_of("resnet")
    halves, without, *_ = designs(space, np.random.default_rng(0), (Recipe(), Recipe.of({BLOCK: "drop"})))
    assert BLOCK in space.sites
    assert dict(without) == {**halves, BLOCK: "drop"}


def test_the_nearest_width() -> None:
    site = Site("channels:a", "channels", (32, 24, 16, 8))
    assert [nearest(site, share) for share in (1.0, 0.8, 0.5, 0.1)] == [32, 24, 16, 8]
    assert nearest(site, 0.625) == 16  # of two as near the narrower


def test_on_steps_where_there_are_some() -> None:
    site = Site("channels:a", "channels", (32, 24, 16, 8))
    assert [nearest(site, share, 16) for share in (0.8, 0.75, 0.1)] == [32, 16, 16]
    assert nearest(Site("channels:a", "channels", (16, 12, 8)), 0.75, 16) == 12


def test_a_space_without_groups_still_has_designs() -> None:
    space = space_of("resnet")
    others = [site for site in space.sites.values() if site.kind in ("depth", "factorize")]
    assert any(set(recipe) & {site.name for site in others} for recipe in designs(space, np.random.default_rng(0)))
