"""What every strategy keeps to: it proposes only recipes of the space, and the same ones under the same seed."""

from collections.abc import Callable, Iterable, Sequence

from search_spaces.recipe import Recipe, Site

Propose = Callable[[int], Iterable[Recipe]]
"""Seed to the recipes that a strategy proposes, some dozens at most."""


def check_strategy(propose: Propose, sites: Sequence[Site], n_least: int) -> list[Recipe]:
    """Asserts the contract and returns what seed 0 proposes.

    Args:
        propose: the strategy, started afresh by each call.
        sites: of the space.
        n_least: how many different recipes it must come up with.
    """
    first, again = list(propose(0)), list(propose(0))
    assert first == again, "not deterministic under its seed"
    offered = {site.name: site for site in sites}
    for recipe in first:
        assert set(recipe) <= set(offered), f"{recipe} names sites that the space does not have"
        for name, choice in recipe.items():
            assert choice in offered[name].choices, f"{name} has no choice {choice!r}"
            assert choice != offered[name].unchanged, f"{name}: the teacher's own choice is no entry of a recipe"
    assert len(set(first)) >= n_least, "too few different recipes"
    return first
