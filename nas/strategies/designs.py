"""Which students are measured to learn the prices: the teacher shrunk evenly, and at random around that.

They are also what a search offers that has no time to find out what each choice loses.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import cast

import numpy as np

from nas.strategies.prices import STEP
from search_spaces.channels import Channels
from search_spaces.recipe import Choice, Recipe, Site
from search_spaces.space import SearchSpace

EVEN = (
    (0.5, 0.5, 0), (0.5, 0.5, 1), (1.0, 0.5, 0), (0.5, 0.5, 2), (0.75, 0.5, 1), (0.5, 0.25, 2), (0.75, 0.5, 0),
    (0.5, 0.25, 3), (0.5, 0.25, 1), (1.0, 0.5, 1), (0.75, 0.75, 0), (0.375, 0.375, 0), (0.25, 0.25, 0),
    (0.125, 0.125, 0),
)  # fmt: skip
"""Fractions of the channels that several layers read (a residual stream's) and of those that one layer reads, and how
many of the depths are gone down. A channel that several layers read is missed more."""
N_FIRST, N_RANDOM = 8, 7


def designs(space: SearchSpace, generator: np.random.Generator, depths: Sequence[Recipe] = (Recipe(),)) -> list[Recipe]:
    """float32 recipes: even ones, and random ones with dropped blocks and factorised layers.

    Args:
        space: whose recipes they are.
        generator: of the random ones.
        depths: recipes of dropped blocks, more and more of them; the first drops none.
    """
    channels = [site for site in space.sites.values() if site.kind == "channels"]
    others = [site for site in space.sites.values() if site.kind in ("depth", "resolution", "factorize")]
    found = []
    for index in range(N_RANDOM):
        centre = EVEN[index % len(EVEN)][1]
        fractions = np.clip(centre * generator.uniform(0.5, 1.6, len(channels)), 0.05, 1.0)
        recipe = _shrunk(channels, fractions.tolist(), 1)
        for site in others:
            if generator.random() < (0.4 if site.kind in ("depth", "resolution") else 0.15):
                recipe = recipe.replace(site, site.choices[int(generator.integers(1, len(site.choices)))])
        found.append(recipe)
    even = _even_designs(space, depths)
    # In turns after the first ones, so that a short budget learns something of every kind of change.
    mixed = even[:N_FIRST] + [r for pair in zip_longest(found, even[N_FIRST:]) for r in pair if r]
    return list(dict.fromkeys(recipe for recipe in mixed if recipe))


def _even_designs(space: SearchSpace, depths: Sequence[Recipe]) -> list[Recipe]:
    """The groups that several layers read at one fraction, all others at another, and fewer blocks.

    Widths are on vector steps where a site has such, as those between cost as much.
    """
    channels = [site for site in space.sites.values() if site.kind == "channels"]
    is_shared = [_n_readers(space, site) > 1 for site in channels]
    found = []
    for shared_fraction, fraction, depth in EVEN:
        if depth < len(depths):
            widths = _shrunk(channels, [shared_fraction if shared else fraction for shared in is_shared])
            found.append(Recipe.of({**widths, **depths[depth]}))
    return list(dict.fromkeys(recipe for recipe in found if recipe))


def _n_readers(space: SearchSpace, site: Site) -> int:
    group = cast(Channels, space.transforms["channels"]).groups[site.name]
    return len({member.module for member in group.consumers})


def _shrunk(sites: list[Site], fractions: list[float], step: int = STEP) -> Recipe:
    recipe = Recipe()
    for site, fraction in zip(sites, fractions, strict=True):
        recipe = recipe.replace(site, nearest(site, fraction, step))
    return recipe


def nearest(site: Site, fraction: float, step: int = 1) -> Choice:
    """The width of a channel site next to a fraction of the full one, of two as near the narrower.

    Args:
        site: of channels.
        fraction: of its channels.
        step: only its multiples, where the site has some that are narrower than all channels.
    """
    full = int(site.unchanged)
    stepped = [width for width in site.choices if int(width) % step == 0]
    choices = stepped if any(int(width) < full for width in stepped) else site.choices
    return min(choices, key=lambda width: (abs(int(width) - fraction * full), int(width)))
