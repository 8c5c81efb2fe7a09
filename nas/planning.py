"""The first phases of a search: what each choice loses, and recipes planned from that and from what layers cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest

import torch
from torch import Tensor

from nas.ask_again import still_away
from nas.distill import is_classifier
from nas.evaluate import (
    architecture_of,
    beat,
    in_precision,
)
from nas.latencies import everywhere
from nas.pricing import prices_of
from nas.shares import has_time_to_plan
from nas.strategies.planner import Losses, sweep
from nas.strategies.prices import Prices
from nas.strategies.prober import Prober
from nas.strategies.sensitivity import complete, probe, probes
from nas.workbench import Workbench, budget_ratio, calibration_inputs
from search_spaces.arrange import has_bfloat16
from search_spaces.estimate import CostIndex
from search_spaces.precision import SITE as PRECISION
from search_spaces.recipe import Choice, Recipe, Site
from search_spaces.space import SearchSpace

MOST_PROBE = 0.1
"""Of the time that is left: after that no more choices are tried, once one is known of every site but the factorised
layers. Where one choice of each site would take more, they are tried on half as many inputs."""
N_PROBE, N_ROWS = 64, 24
"""Calibration inputs that a choice is repaired with, and tried on; rows for each of them in a layer's refit."""
BUDGETS = (1.0, 0.5, 0.7, 0.35, 0.85, 0.25, 0.6, 0.42, 1.4, 0.17, 0.3, 0.2, 0.14)
"""Latencies that recipes are planned for, as shares of the budget; the first are scored first, so they are spread."""
DISCOUNTS = (0.2, 1.0)
"""Closed-form repair mends a missing block or a coarser image far less than training does, so recipes are planned with
both views."""
DISCOUNTED = ("depth", "resolution")
N_FACTORIZED = 3
"""Students with factorised layers that must have been timed before others are planned."""
MUCH_WORSE = 1.5
"""A recipe that loses so many times as much as another of the same latency, however one looks at missing blocks, is
scored after all others."""


@dataclass(frozen=True)
class Planned:
    """A recipe that the planner found.

    Attributes:
        share: of the latency budget that it was planned for, one of `BUDGETS`.
        losses: predicted, in each view of missing blocks.
        recipe: with its precision.
    """

    share: float
    losses: tuple[float, ...]
    recipe: Recipe


def planned(bench: Workbench) -> list[Recipe]:
    """Recipes for a sweep of budgets on every target and in every precision; worked out once a run."""
    known = bench.ledger.get_fact("plan")
    if known is not None:
        return [Recipe.from_json(text) for text in known]
    losses = _losses(bench)
    prices = prices_of(bench, losses)
    if not has_time_to_plan(bench):
        bench.progress.note("Time is too short to plan students by what they lose")
        return []
    bench.progress.phase("planning")
    plans: dict[str, list[Planned]] = {}
    for (label, precision), price in prices.items():
        plans.setdefault(label, []).extend(_plan(bench, label, precision, losses, price))
    # Taken in turn, so that no target waits for another's whole sweep to be scored.
    found = dict.fromkeys(one for turn in zip_longest(*map(queued, plans.values())) for one in turn if one)
    recipes = [recipe for recipe in found if architecture_of(recipe)]
    if not still_away(bench.ledger.records()):  # else prices are missing that a resumed search may learn
        bench.ledger.set_fact("plan", [recipe.to_json() for recipe in recipes])
    return recipes


def _losses(bench: Workbench) -> Losses:
    """What each choice loses alone; of blocks only, where there is no time to plan."""
    todo = [pair for pair in probes(bench.space) if pair[0].kind == "depth" or has_time_to_plan(bench)]
    bench.progress.phase("measuring what each choice loses", len(todo))
    prober: Prober | None = None
    found: dict[str, dict[Choice, float]] = {}
    left_s = bench.deadline.left_s()
    for site, choice in todo:
        key = f"loss:{site.name}:{choice}"
        value = bench.ledger.get_fact(key)
        if value is None:
            started_s = bench.deadline.elapsed_s()
            is_late = left_s - bench.deadline.left_s() > MOST_PROBE * left_s
            if is_late and (site.kind == "factorize" or site.name in found or not has_time_to_plan(bench)):
                break
            prober = prober or _prober(bench, N_PROBE)
            value = prober.loss(site, choice)
            if not found and (bench.deadline.elapsed_s() - started_s) * len(bench.space.sites) > MOST_PROBE * left_s:
                prober = _prober(bench, N_PROBE // 2)
            value = value if math.isfinite(value) else 1e9
            bench.ledger.set_fact(key, value)
        found.setdefault(site.name, {})[choice] = float(value)
        bench.progress.advance()
        beat(bench)
    return complete(bench.space, found)


def _prober(bench: Workbench, n: int) -> Prober:
    """What tries choices on n inputs; students that have to be built are repaired with n calibration inputs."""
    classifier = is_classifier(bench.task, bench.space.statistics.outputs)
    inputs = calibration_inputs(bench.task, n, int(bench.seeded("probing").integers(2**31)))
    probed_on = cache(lambda: _probed_on(bench, n))

    def built(site: Site, choice: Choice) -> float:
        thin, held_out = probed_on()
        return probe(thin, site, choice, classifier, held_out)

    return Prober(bench.space, inputs, classifier, built, has_bfloat16())


def _probed_on(bench: Workbench, n: int) -> tuple[SearchSpace, tuple[tuple[Tensor, ...], Tensor]]:
    """The space with statistics of the first n calibration inputs; the n after them, with the teacher's outputs."""
    statistics = bench.space.statistics
    n = min(n, len(statistics.outputs) // 2)
    generator = torch.Generator().manual_seed(bench.settings.seed)
    inputs = tuple(tensor[n : 2 * n] for tensor in statistics.inputs)
    return bench.space.thinned(n, N_ROWS * n, generator), (inputs, statistics.outputs[n : 2 * n])


def _plan(bench: Workbench, label: str, precision: str, losses: Losses, price: Prices) -> list[Planned]:
    """Recipes for a sweep of budgets on one target and in one precision, with each view of missing blocks."""
    index = CostIndex.of(bench.space, bench.teacher_cost)
    sites = _plannable(bench, label, precision)
    shares = {min(share * min(budget_ratio(bench, label), 1.0), 0.95): share for share in reversed(BUDGETS)}
    memory: dict[Recipe, float] = {}

    def ratio(recipe: Recipe) -> float:
        if recipe not in memory:
            memory[recipe] = price.ratio(index.layers(recipe))
        return memory[recipe]

    views = [_weighed(losses, discount) for discount in DISCOUNTS]
    found = []
    for view in views:
        for budget, recipe in sweep(sites, view, ratio, list(shares)).items():
            lost = tuple(sum(one[name][choice] for name, choice in recipe.items()) for one in views)
            found.append(Planned(shares[budget], lost, in_precision(bench, recipe, precision)))
        beat(bench)
    return found


def _plannable(bench: Workbench, label: str, precision: str) -> list[Site]:
    """Sites that recipes are planned at: factorised layers only where enough students with some have been timed.

    They are layers of a kind that other students have none of, so their prices would be guesses.
    """
    sites = [site for site in bench.space.sites.values() if site.kind != "precision"]
    others = [site for site in sites if site.kind != "factorize"]
    names = {site.name for site in sites if site.kind == "factorize"}
    measured = [r.recipe for r in bench.ledger.records() if r.failure is None and label in everywhere(r)]
    n_known = sum(bool(names & set(r)) and r.get(PRECISION, "float32") == precision for r in measured)
    return sites if n_known >= N_FACTORIZED or not others else others


def queued(plans: Sequence[Planned]) -> list[Recipe]:
    """In what order recipes for one target are scored: first those that lose about least at each latency.

    Args:
        plans: in all precisions and views.
    """
    first: list[Planned] = []
    rest: list[Planned] = []
    for share in BUDGETS:
        here = [one for one in plans if one.share == share]
        least = [MUCH_WORSE * min(losses) for losses in zip(*(one.losses for one in here), strict=True)]
        for one in sorted(here, key=lambda one: one.losses):
            is_near = any(loss <= limit for loss, limit in zip(one.losses, least, strict=True))
            (first if is_near else rest).append(one)
    return list(dict.fromkeys(one.recipe for one in (*first, *rest)))


def _weighed(losses: Losses, discount: float) -> Losses:
    return {
        name: {c: v * (discount if name.partition(":")[0] in DISCOUNTED else 1.0) for c, v in table.items()}
        for name, table in losses.items()
    }
