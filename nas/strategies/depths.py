"""Which blocks are dropped first: those that lose least for the time they take."""

import math
from collections.abc import Callable, Mapping, Sequence

from search_spaces.depth import DROP
from search_spaces.recipe import Choice, Recipe, Site

LEVELS = (0.15, 0.35, 0.55)
"""Shares of a student's latency that blocks are dropped for, one recipe for each."""


def depths(
    sites: Sequence[Site],
    losses: Mapping[str, Mapping[Choice, float]],
    latency: Callable[[Recipe], float],
    start: Recipe,
) -> list[Recipe]:
    """Recipes of nothing but dropped blocks, each with those of the one before; the first drops none.

    Args:
        sites: of the space; only blocks whose loss is known are dropped.
        losses: site to choice to loss.
        latency: predicted, as a share of the teacher's.
        start: the student that blocks are taken from.
    """
    waiting = [site for site in sites if site.kind == "depth" and DROP in losses.get(site.name, {})]
    chosen, here, whole = Recipe(), start, latency(start)
    found = [chosen]
    for level in LEVELS:
        while waiting and latency(here) > (1 - level) * whole:
            best = min(waiting, key=lambda site: _rate(losses[site.name][DROP], latency, here, site))
            waiting.remove(best)
            chosen, here = chosen.replace(best, DROP), here.replace(best, DROP)
        if latency(here) <= (1 - level) * whole:
            found.append(chosen)
    return list(dict.fromkeys(found))


def _rate(loss: float, latency: Callable[[Recipe], float], here: Recipe, site: Site) -> float:
    """What is lost for each share of the latency that is saved. A divergence grows as the square of a distance, and
    scores fall as the distance does."""
    return math.sqrt(loss) / max(latency(here) - latency(here.replace(site, DROP)), 1e-9)
