"""Losses tried on the teacher itself rank choices as students that are built and refitted do."""

import math

import pytest
import torch
from scipy.stats import spearmanr

from nas.strategies.prober import Prober
from nas.strategies.sensitivity import divergence
from search_spaces.recipe import Choice, Recipe, Site
from search_spaces.space import SearchSpace
from tests.nas import tiny
from tests.search_spaces.networks import EXAMPLES
from tests.search_spaces.spaces import space_of


@pytest.fixture(scope="module")
def space(tiny_teacher: torch.nn.Module) -> SearchSpace:
    (images, _), _, _ = tiny.make_data()
    return SearchSpace.from_teacher(
        tiny_teacher.requires_grad_(False), (images[:400],), torch.Generator().manual_seed(0)
    )


def never(site: Site, choice: Choice) -> float:
    raise AssertionError(f"a student was built for {site.name} at {choice}")


def prober_of(space: SearchSpace) -> Prober:
    _, (images, _), _ = tiny.make_data()
    return Prober(space, (images[:64],), True, never)


@torch.no_grad()
def built(space: SearchSpace, site: Site, choice: Choice) -> float:
    """On all held-out images, the student repaired with all it has."""
    _, (images, _), (more, _) = tiny.make_data()
    x = torch.cat([images, more])
    return divergence(space.build(Recipe().replace(site, choice)).module(x), space.teacher(x), True)


def test_they_rank_as_built_students_do(space: SearchSpace) -> None:
    prober = prober_of(space)
    sites = [site for site in space.sites.values() if site.kind in ("channels", "depth", "factorize")]
    tried = [(site, choice) for site in sites for choice in (site.choices[len(site.choices) // 2], site.choices[-1])]
    assert len(tried) > 12
    losses = [prober.loss(site, choice) for site, choice in tried]
    assert all(0 <= loss < math.inf for loss in losses)
    assert spearmanr(losses, [built(space, site, choice) for site, choice in tried]).statistic > 0.8


def test_the_teacher_is_left_as_it_is(space: SearchSpace) -> None:
    before = {name: value.clone() for name, value in space.teacher.state_dict().items()}
    prober = prober_of(space)
    for site in space.sites.values():
        if site.kind in ("channels", "depth", "factorize"):
            prober.loss(site, site.choices[-1])
    assert all(torch.equal(value, before[name]) for name, value in space.teacher.state_dict().items())


def test_what_has_no_shortcut_is_built() -> None:
    site = Site("resolution:x", "resolution", ("keep", "half"))
    (images, _), _, _ = tiny.make_data()
    space = SearchSpace.from_teacher(tiny.build().eval(), (images[:64],), torch.Generator().manual_seed(0))
    assert Prober(space, (images[:8],), True, lambda site, choice: 0.25).loss(site, "half") == 0.25


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_kind_of_network(name: str) -> None:
    space = space_of(name)
    prober = Prober(space, space.statistics.inputs, False, lambda site, choice: -1.0)
    for site in space.sites.values():
        if site.kind != "precision":
            loss = prober.loss(site, site.choices[-1])
            assert loss == -1.0 or 0 <= loss < math.inf, site.name
