"""The dynamic programme against brute force, and sweeps of budgets on latencies that are known in closed form."""

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.strategies.planner import N_BINS, knapsack, sweep
from search_spaces.recipe import Choice, Recipe, Site

WIDTHS = (16, 12, 8, 4)
SITES = tuple(Site(f"channels:{name}", "channels", WIDTHS) for name in "abc")
LOSSES: Mapping[str, Mapping[Choice, float]] = {
    "channels:a": {16: 0.0, 12: 0.1, 8: 0.3, 4: 1.0},
    "channels:b": {16: 0.0, 12: 0.01, 8: 0.02, 4: 0.2},
    "channels:c": {16: 0.0, 12: 0.2, 8: 0.5, 4: 2.0},
}


def _brute_force(
    losses: list[NDArray[np.float64]], weights: list[NDArray[np.float64]], capacity: float
) -> float | None:
    """The least total loss within the capacity."""
    totals = [
        sum(loss[i] for loss, i in zip(losses, picked, strict=True))
        for picked in product(*(range(len(loss)) for loss in losses))
        if sum(w[i] for w, i in zip(weights, picked, strict=True)) <= capacity
    ]
    return min(totals, default=None)


@pytest.mark.parametrize("seed", range(30))
def test_knapsack_is_exact_up_to_its_grid(seed: int) -> None:
    generator = np.random.default_rng(seed)
    sizes = generator.integers(2, 5, size=4)
    losses = [generator.uniform(0, 1, n) for n in sizes]
    weights = [generator.uniform(-1, 1, n) for n in sizes]
    capacity = float(generator.uniform(-2.5, 2))
    picked = knapsack(losses, weights, capacity)
    best = _brute_force(losses, weights, capacity)
    # Each weight is rounded up to the grid, so what is found lies between the best of this capacity and the best of
    # one that is smaller by a grid step an item.
    room = capacity - sum(float(w.min()) for w in weights)
    tighter = _brute_force(losses, weights, capacity - len(sizes) * max(room, 0.0) / N_BINS)
    if picked is None:
        assert best is None
        return
    assert best is not None
    assert sum(w[i] for w, i in zip(weights, picked, strict=True)) <= capacity + 1e-9
    found = sum(loss[i] for loss, i in zip(losses, picked, strict=True))
    assert found >= best - 1e-12
    assert tighter is None or found <= tighter + 1e-12


def test_knapsack_by_hand() -> None:
    losses = [np.array([0.0, 1.0, 4.0]), np.array([0.0, 2.0])]
    weights = [np.array([0.0, -0.4, -0.9]), np.array([0.0, -0.5])]
    assert knapsack(losses, weights, 0.01) == [0, 0]
    assert knapsack(losses, weights, -0.3) == [1, 0]
    assert knapsack(losses, weights, -0.5) == [0, 1]
    assert knapsack(losses, weights, -0.85) == [1, 1]
    assert knapsack(losses, weights, -1.5) is None


def test_without_room_only_the_lightest_choices_fit() -> None:
    losses = [np.array([0.0, 1.0]), np.array([0.0, 1.0])]
    weights = [np.array([0.5, 0.25]), np.array([0.5, 0.25])]
    assert knapsack(losses, weights, 0.5) == [1, 1]


def _additive(recipe: Recipe) -> float:
    return 0.1 + 0.9 * sum(int(recipe.get(site.name, 16)) for site in SITES) / 48


def _coupled(recipe: Recipe) -> float:
    """A chain of layers: each pays for its inputs times its outputs."""
    a, b, c = (int(recipe.get(site.name, 16)) / 16 for site in SITES)
    return 0.1 * a + 0.4 * a * b + 0.4 * b * c + 0.1 * c


def _loss(recipe: Recipe) -> float:
    return sum(LOSSES[name][choice] for name, choice in recipe.items())


def _all_recipes() -> list[Recipe]:
    recipes = []
    for widths in product(WIDTHS, repeat=3):
        recipe = Recipe()
        for site, width in zip(SITES, widths, strict=True):
            recipe = recipe.replace(site, width)
        recipes.append(recipe)
    return recipes


BUDGETS = (0.9, 0.8, 0.65, 0.5, 0.35, 0.2)


@pytest.mark.parametrize("latency", [_additive, _coupled])
def test_a_sweep_keeps_to_every_budget_it_returns(latency: object) -> None:
    assert callable(latency)
    found = sweep(SITES, LOSSES, latency, BUDGETS)
    reachable = [b for b in BUDGETS if min(latency(r) for r in _all_recipes()) <= b]
    assert list(found) == reachable
    assert all(latency(recipe) <= budget for budget, recipe in found.items())
    losses = [_loss(recipe) for recipe in found.values()]
    assert losses == sorted(losses)


def test_an_additive_latency_is_planned_exactly() -> None:
    found = sweep(SITES, LOSSES, _additive, BUDGETS)
    for budget, recipe in found.items():
        best = min(_loss(r) for r in _all_recipes() if _additive(r) <= budget)
        assert _loss(recipe) == pytest.approx(best), budget


def test_a_coupled_latency_is_planned_nearly_as_well_as_can_be() -> None:
    found = sweep(SITES, LOSSES, _coupled, BUDGETS)
    for budget, recipe in found.items():
        best = min(_loss(r) for r in _all_recipes() if _coupled(r) <= budget)
        assert _loss(recipe) <= 1.5 * best + 0.05, budget


def test_budgets_out_of_reach_are_left_out() -> None:
    assert list(sweep(SITES, LOSSES, _additive, (0.5, 0.3))) == [0.5]  # the least is 0.325
    assert sweep(SITES, LOSSES, _additive, (0.01,)) == {}


def test_the_teacher_is_the_plan_of_a_budget_it_meets() -> None:
    assert sweep(SITES, LOSSES, _additive, (1.2,)) == {1.2: Recipe()}


def test_sites_without_losses_and_choices_of_the_start_are_kept() -> None:
    known = {name: table for name, table in LOSSES.items() if name != "channels:a"}
    start = Recipe.of({"channels:a": 12})
    found = sweep(SITES, known, _additive, (0.7,), start)
    assert found[0.7]["channels:a"] == 12
    assert _additive(found[0.7]) <= 0.7


def test_a_latency_that_grows_with_a_cut_ends_the_sweep() -> None:
    """Everything that looks cheap alone is dear together: the sweep gives up and does not turn in circles."""

    def latency(recipe: Recipe) -> float:
        return 1.0 - 0.05 * len(recipe) if len(recipe) < 2 else 1.5

    assert sweep(SITES, LOSSES, latency, (0.96, 0.3)).keys() == {0.96}
