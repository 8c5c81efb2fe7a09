"""The first phases of a search: what each choice loses, what layers cost on each target, recipes planned from both."""

import math

import torch

from nas.ask_again import still_away
from nas.distill import is_classifier
from nas.evaluate import architecture_of, beat, evaluate_and_report, in_precision, precisions
from nas.latencies import everywhere
from nas.strategies.designs import designs
from nas.strategies.planner import sweep
from nas.strategies.prices import Prices, learn
from nas.strategies.sensitivity import complete, probe, probes
from nas.workbench import Workbench, budget_ratio, time_is_before
from search_spaces.estimate import CostIndex
from search_spaces.precision import SITE as PRECISION
from search_spaces.recipe import Choice, Recipe

PROFILE_UNTIL = 0.15
"""Share of the time budget at which these phases are over at the latest."""
N_PROBE, PROBE_ROWS = 128, 2048
BUDGETS = (1.4, 1.0, 0.85, 0.7, 0.6, 0.5, 0.42, 0.35, 0.3, 0.25, 0.2, 0.17, 0.14)
"""Latencies that recipes are planned for, as shares of the budget."""
DEPTH_DISCOUNTS = (1.0, 0.2)
"""Closed-form repair mends a missing block far less than training does, so recipes are planned with both views."""

Losses = dict[str, dict[Choice, float]]
PriceTables = dict[tuple[str, str], Prices]
"""By target (label) and precision."""


def planned(bench: Workbench) -> list[Recipe]:
    """Recipes for a sweep of budgets on every target and in every precision; worked out once a run."""
    known = bench.ledger.get_fact("plan")
    if known is not None:
        return [Recipe.from_json(text) for text in known]
    losses = _losses(bench)
    prices = _prices(bench)
    bench.progress.phase("planning")
    of_each = [_plan(bench, label, precision, losses, price) for (label, precision), price in prices.items()]
    # Taken in turn, so that no target waits for another's whole sweep to be scored.
    longest = max(map(len, of_each), default=0)
    found = dict.fromkeys(plan[i] for i in range(longest) for plan in of_each if i < len(plan))
    recipes = [recipe for recipe in found if architecture_of(recipe)]
    if not still_away(bench.ledger.records()):  # else prices are missing that a resumed search may learn
        bench.ledger.set_fact("plan", [recipe.to_json() for recipe in recipes])
    return recipes


def _losses(bench: Workbench) -> Losses:
    """What each choice loses alone."""
    generator = torch.Generator().manual_seed(bench.settings.seed)
    space = bench.space.thinned(N_PROBE, PROBE_ROWS, generator)
    todo = list(probes(space))
    bench.progress.phase("measuring what each choice loses", len(todo))
    classifier = is_classifier(bench.task, bench.space.statistics.outputs)
    found: Losses = {}
    # Interleaved, so that a short budget still leaves something known of every site.
    for site, choice in sorted(todo, key=lambda pair: pair[0].choices.index(pair[1]) % 3):
        key = f"loss:{site.name}:{choice}"
        value = bench.ledger.get_fact(key)
        if value is None:
            if not time_is_before(bench, 0.6 * PROFILE_UNTIL) and site.name in found:
                continue
            value = probe(space, site, choice, classifier)
            value = value if math.isfinite(value) else 1e9
            bench.ledger.set_fact(key, value)
        found.setdefault(site.name, {})[choice] = float(value)
        bench.progress.advance()
        beat(bench)
    return complete(bench.space, found)


def _prices(bench: Workbench) -> PriceTables:
    """A price table for each target and precision, from students that are timed end to end."""
    todo = designs(bench.space, bench.seeded("designs"))
    bench.progress.phase("pricing layers on the target", len(todo) * len(precisions(bench)))
    for index, architecture in enumerate(todo):
        for precision in precisions(bench):
            if time_is_before(bench, PROFILE_UNTIL) or index < 4:
                evaluate_and_report(bench, in_precision(bench, architecture, precision), "priced")
    index_ = CostIndex.of(bench.space, bench.teacher_cost)
    records = bench.ledger.records()
    prices: PriceTables = {}
    for label in bench.models:
        for precision in precisions(bench):
            known = [
                (index_.layers(r.recipe), everywhere(r)[label].ratio)
                for r in records
                if r.failure is None and label in everywhere(r) and r.recipe.get(PRECISION, "float32") == precision
            ]
            if len(known) > 2:
                prices[label, precision] = learn(known)
                error = 100 * prices[label, precision].error
                where = f" on {label}" if len(bench.models) > 1 else ""
                bench.progress.note(f"{precision} prices{where}: median error {error:.1f} % over {len(known)} students")
    return prices


def _plan(bench: Workbench, label: str, precision: str, losses: Losses, price: Prices) -> list[Recipe]:
    """Recipes for a sweep of budgets on one target and in one precision, with each view of missing blocks."""
    index = CostIndex.of(bench.space, bench.teacher_cost)
    sites = [site for site in bench.space.sites.values() if site.kind != "precision"]
    budgets = [min(share * min(budget_ratio(bench, label), 1.0), 0.95) for share in BUDGETS]
    memory: dict[Recipe, float] = {}

    def ratio(recipe: Recipe) -> float:
        if recipe not in memory:
            memory[recipe] = price.ratio(index.layers(recipe))
        return memory[recipe]

    found: dict[Recipe, None] = {}
    for discount in DEPTH_DISCOUNTS:
        weighed = {
            name: {c: v * (discount if name.startswith("depth:") else 1.0) for c, v in table.items()}
            for name, table in losses.items()
        }
        for recipe in sweep(sites, weighed, ratio, budgets).values():
            found[in_precision(bench, recipe, precision)] = None
        beat(bench)
    return list(found)
