"""Recipes for a sweep of latency budgets: a dynamic programme over sites, on losses and prices.

Given what each choice at each site loses and how it moves the latency, the best recipe within a budget is a
multiple-choice knapsack, solved exactly on a grid of latencies (Kellerer et al. 2004, section 11.5). Latency is not
additive over sites (a convolution pays for inputs times outputs), so it is linearised around the recipe of the budget
before, and the sweep goes down in small steps.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from search_spaces.recipe import Choice, Recipe, Site

N_BINS = 600
STEP = 0.88
"""Each budget of the sweep as a share of the one before."""
Losses = Mapping[str, Mapping[Choice, float]]
Latency = Callable[[Recipe], float]


def knapsack(
    losses: Sequence[NDArray[np.float64]], weights: Sequence[NDArray[np.float64]], capacity: float
) -> list[int] | None:
    """One choice for each item with the least total loss and a total weight of at most `capacity`.

    Exact up to the grid: weights are rounded up to `capacity / N_BINS`, so the capacity is never exceeded.

    Args:
        losses, weights: for each item (n_choices,); weights may be negative, as moves away from where one stands.
        capacity: on the sum of the weights.

    Returns:
        The chosen index of each item, or None where nothing fits.
    """
    shifts = [float(w.min()) for w in weights]
    room = capacity - sum(shifts)
    if room < 0:
        return None
    unit = max(room, 1e-12) / N_BINS
    best = np.zeros(N_BINS + 1)
    picks: list[NDArray[np.int64]] = []
    sizes = [np.ceil((w - s) / unit - 1e-9).astype(int) for w, s in zip(weights, shifts, strict=True)]
    for loss, size in zip(losses, sizes, strict=True):
        options = np.full((len(loss), N_BINS + 1), np.inf)
        for index, (value, n) in enumerate(zip(loss, size, strict=True)):
            if n <= N_BINS:
                options[index, n:] = best[: N_BINS + 1 - n] + value
        picks.append(options.argmin(0))
        best = options.min(0)
    if not np.isfinite(best[N_BINS]):
        return None
    chosen, left = [], N_BINS
    for pick, size in zip(reversed(picks), reversed(sizes), strict=True):
        index = int(pick[left])
        chosen.append(index)
        left -= int(size[index])
    return chosen[::-1]


def sweep(
    sites: Sequence[Site], losses: Losses, latency: Latency, budgets: Sequence[float], start: Recipe | None = None
) -> dict[float, Recipe]:
    """A recipe for each budget that can be reached by the predicted latency.

    Args:
        sites: to choose at; sites without losses are left alone.
        losses: site to choice to loss; the teacher's choice costs 0.
        latency: predicted, as a share of the teacher's.
        budgets: shares of the teacher's latency.
        start: where the sweep begins (its choices at other sites are kept).
    """
    here = start or Recipe()
    chosen: dict[float, Recipe] = {}
    known = [site for site in sites if site.name in losses]
    level = latency(here)
    for budget in sorted(budgets, reverse=True):
        while latency(here) > budget:
            level = max(budget, min(level, latency(here)) * STEP)
            moved = _step(known, losses, latency, here, level)
            if moved is None or moved == here:
                moved = _cheapest_move(known, losses, latency, here)
            if moved is None:
                return chosen
            here = moved
        chosen[budget] = here
    return chosen


def _step(sites: Sequence[Site], losses: Losses, latency: Latency, here: Recipe, budget: float) -> Recipe | None:
    """The knapsack around `here`; its true latency is checked and the capacity tightened until it fits."""
    base = latency(here)
    values, weights, options = [], [], []
    for site in sites:
        allowed = [c for c in site.choices if c in losses[site.name]]
        options.append(allowed)
        values.append(np.array([losses[site.name][c] for c in allowed]))
        weights.append(np.array([latency(here.replace(site, c)) - base for c in allowed]))
    aim = budget
    best: Recipe | None = None
    for _ in range(4):
        picked = knapsack(values, weights, aim - base)
        if picked is None:
            break
        recipe = here
        for site, allowed, index in zip(sites, options, picked, strict=True):
            recipe = recipe.replace(site, allowed[index])
        reached = latency(recipe)
        if reached <= budget:
            return recipe
        if best is None or reached < latency(best):
            best = recipe
        aim -= reached - budget
    return best if best is not None and latency(best) < base else None


def _cheapest_move(sites: Sequence[Site], losses: Losses, latency: Latency, here: Recipe) -> Recipe | None:
    """The single change that loses least for each share of latency it saves."""
    base = latency(here)
    best, best_rate = None, np.inf
    for site in sites:
        now = losses[site.name].get(here.get(site.name, site.unchanged), 0.0)
        for choice in losses[site.name]:
            recipe = here.replace(site, choice)
            saved = base - latency(recipe)
            rate = (losses[site.name][choice] - now + 1e-9) / saved if saved > 1e-6 else np.inf
            if rate < best_rate:
                best, best_rate = recipe, rate
    return best
