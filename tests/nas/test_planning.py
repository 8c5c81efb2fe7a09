"""In what order planned recipes are scored, and what is left out of plans."""

from nas.planning import BUDGETS, Planned, queued
from search_spaces.recipe import Recipe


def planned(share: float, loss: float, width: int, trained: float | None = None) -> Planned:
    return Planned(share, (loss if trained is None else trained, loss), Recipe.of({"channels:a": width}))


def test_what_loses_least_at_each_latency_is_scored_first() -> None:
    first, second = BUDGETS[:2]
    plans = [
        planned(second, 0.3, 4),
        planned(first, 0.2, 5),  # more than half as much again as what another one loses at this latency
        planned(first, 0.1, 8),
        planned(first, 0.14, 7),
        planned(second, 0.4, 3),
    ]
    assert [recipe["channels:a"] for recipe in queued(plans)] == [8, 7, 4, 3, 5]


def test_each_view_of_missing_blocks_has_its_best() -> None:
    plans = [planned(BUDGETS[0], 0.9, 6, trained=0.01), planned(BUDGETS[0], 0.1, 8), planned(BUDGETS[0], 0.8, 7)]
    assert [recipe["channels:a"] for recipe in queued(plans)] == [6, 8, 7]


def test_a_recipe_of_two_views_is_scored_once() -> None:
    assert len(queued([planned(BUDGETS[0], 0.1, 8), planned(BUDGETS[1], 0.1, 8)])) == 1
    assert queued([]) == []
