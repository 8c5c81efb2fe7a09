"""Which students are measured to learn the prices: the teacher shrunk evenly, and at random around that."""

from itertools import zip_longest

import numpy as np

from search_spaces.recipe import Choice, Recipe, Site
from search_spaces.space import SearchSpace

EVEN = (0.5, 0.25, 0.75, 0.375, 0.125)
N_RANDOM = 7


def designs(space: SearchSpace, generator: np.random.Generator) -> list[Recipe]:
    """float32 recipes: every group at the same fraction, then random ones with dropped blocks and factorised layers."""
    channels = [site for site in space.sites.values() if site.kind == "channels"]
    others = [site for site in space.sites.values() if site.kind in ("depth", "resolution", "factorize")]
    even = [_shrunk(channels, [fraction] * len(channels)) for fraction in EVEN]
    found = []
    for index in range(N_RANDOM):
        centre = EVEN[index % len(EVEN)]
        fractions = np.clip(centre * generator.uniform(0.5, 1.6, len(channels)), 0.05, 1.0)
        recipe = _shrunk(channels, fractions.tolist())
        for site in others:
            if generator.random() < (0.4 if site.kind in ("depth", "resolution") else 0.15):
                recipe = recipe.replace(site, site.choices[int(generator.integers(1, len(site.choices)))])
        found.append(recipe)
    # In turns after the first two, so that a short budget learns something of every kind of change.
    mixed = even[:2] + [recipe for pair in zip_longest(found, even[2:]) for recipe in pair if recipe]
    return list(dict.fromkeys(recipe for recipe in mixed if recipe))


def _shrunk(sites: list[Site], fractions: list[float]) -> Recipe:
    recipe = Recipe()
    for site, fraction in zip(sites, fractions, strict=True):
        recipe = recipe.replace(site, nearest(site, fraction))
    return recipe


def nearest(site: Site, fraction: float) -> Choice:
    """The width of a channel site next to a fraction of the full one."""
    full = int(site.unchanged)
    return min(site.choices, key=lambda width: abs(int(width) - fraction * full))
