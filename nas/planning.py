"""The first phases of a search: what each choice loses, what layers cost on each target, recipes planned from both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor

from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from nas.ask_again import still_away
from nas.distill import is_classifier
from nas.evaluate import (
    FAILURES,
    FLOAT32_FIRST,
    architecture_of,
    artifact_of,
    beat,
    evaluate_and_report,
    in_precision,
    precisions,
    repaired,
)
from nas.export import export_artifact
from nas.latencies import everywhere
from nas.record import Record
from nas.shares import has_time_to_plan, training_end_s
from nas.strategies.designs import designs, even_designs
from nas.strategies.planner import sweep
from nas.strategies.prices import Priced, Prices, learn, parts_of
from nas.strategies.prober import Prober
from nas.strategies.sensitivity import complete, probe, probes
from nas.workbench import Workbench, budget_ratio, calibration_inputs, time_is_before
from search_spaces.arrange import has_bfloat16
from search_spaces.estimate import CostIndex
from search_spaces.precision import SITE as PRECISION
from search_spaces.recipe import Choice, Recipe, Site
from search_spaces.space import SearchSpace

PROFILE_UNTIL = 0.15
"""Share of the time budget at which these phases are over at the latest."""
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
N_PRICED = (4, 1)
"""Designs that prices are learned from at the least: in other precisions, and in float32, as the teacher is too."""
FAR_FASTER = 0.5
"""Where another precision takes so little of the teacher's latency, float32 is priced only if there is time."""

Losses = dict[str, dict[Choice, float]]
PriceTables = dict[tuple[str, str], Prices]
"""By target (label) and precision."""


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
    if not has_time_to_plan(bench):
        _prices(bench)  # the students that prices would be learned from
        bench.progress.note("Time is too short to plan students by what they lose")
        return []
    losses = _losses(bench)
    prices = _prices(bench)
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
    """What each choice loses alone."""
    todo = probes(bench.space)
    bench.progress.phase("measuring what each choice loses", len(todo))
    prober: Prober | None = None
    found: Losses = {}
    left_s = bench.deadline.left_s()
    for site, choice in todo:
        key = f"loss:{site.name}:{choice}"
        value = bench.ledger.get_fact(key)
        if value is None:
            started_s = bench.deadline.elapsed_s()
            is_late = left_s - bench.deadline.left_s() > MOST_PROBE * left_s
            if is_late and (site.kind == "factorize" or site.name in found):
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


def _prices(bench: Workbench) -> PriceTables:
    """A price table for each target and precision, from students that are timed end to end."""
    has_time = has_time_to_plan(bench)
    todo = designs(bench.space, bench.seeded("designs"))
    if not has_time:
        todo = list(dict.fromkeys([*even_designs(bench.space), *todo]))
    bench.progress.phase("pricing layers on the target", len(todo) * len(precisions(bench)))
    _decide_first_layers(bench, todo[0])
    for precision in precisions(bench)[1:]:
        evaluate_and_report(bench, in_precision(bench, Recipe(), precision), "the teacher's architecture")
    for index, architecture in enumerate(todo):
        for precision in precisions(bench):
            if _is_timed(bench, index, precision):
                record = evaluate_and_report(bench, in_precision(bench, architecture, precision), "priced")
                if index == 0 and has_time:
                    _time_kernels(bench, record)
    if not has_time:
        return {}
    index_ = CostIndex.of(bench.space, bench.teacher_cost)
    records = bench.ledger.records()
    prices: PriceTables = {}
    for label in bench.models:
        for precision in precisions(bench):
            known = [
                Priced(index_.layers(r.recipe), everywhere(r)[label].ratio, _parts(bench, r, label, index_))
                for r in records
                if r.failure is None and label in everywhere(r) and r.recipe.get(PRECISION, "float32") == precision
            ]
            if len(known) > 1:  # one is the teacher's architecture
                prices[label, precision] = learn(known)
                error = 100 * prices[label, precision].error
                where = f" on {label}" if len(bench.models) > 1 else ""
                bench.progress.note(f"{precision} prices{where}: median error {error:.1f} % over {len(known)} students")
    return prices


def _is_timed(bench: Workbench, index: int, precision: str) -> bool:
    """Whether a design is timed: what plans need, or without a plan as many as there is time for in one precision."""
    if has_time_to_plan(bench):
        n_least = N_PRICED[0] if precision != "float32" else 0 if _is_far_faster(bench) else N_PRICED[1]
        return time_is_before(bench, PROFILE_UNTIL) or index < n_least
    is_early = bench.deadline.elapsed_s() < training_end_s(bench)
    return precision == precisions(bench)[-1] and (index == 0 or is_early)


def _is_far_faster(bench: Workbench) -> bool:
    """Whether the teacher's architecture is far faster in another precision on every target."""
    others = [bench.ledger.get(in_precision(bench, Recipe(), precision), 0) for precision in precisions(bench)[1:]]
    latencies = [everywhere(record) for record in others if record is not None]
    return all(
        any(label in found and found[label].ratio <= FAR_FASTER for found in latencies) for label in bench.models
    )


def _decide_first_layers(bench: Workbench, architecture: Recipe) -> None:
    """Whether int8 files keep the layers that read the inputs in float32: unless that is slower, as it loses less.

    Where an input has few channels, ONNX Runtime's int8 convolution takes longer on it than float32 does.
    """
    if "int8" not in precisions(bench) or bench.ledger.get_fact(FLOAT32_FIRST) is not None:
        return
    student = repaired(bench, in_precision(bench, architecture, "int8"))
    template = bench.kept.template_of(bench.task.teacher, bench.example)
    path = bench.artifact_path(architecture, 0).with_suffix(".first.onnx")
    logs: list[float] = []
    try:
        for float32_first in (False, True):
            artifact = export_artifact(student, bench.example, bench.calibration, path, template, float32_first)
            ratios = [model.latency(artifact).ratio for model in bench.models.values() if not model.refusal("int8")]
            logs.append(float(np.mean(np.log(ratios))))
    except FAILURES:
        return  # the candidates themselves will say what is wrong
    finally:
        path.unlink(missing_ok=True)
    bench.ledger.set_fact(FLOAT32_FIRST, logs[1] <= logs[0])


def _time_kernels(bench: Workbench, record: Record) -> None:
    """Times a student's kernels one by one where a target can: end to end alone, few students tell little of layers."""
    if record.failure is not None:
        return
    for label, model in bench.models.items():
        key = f"kernels:{record.id}:{label}"
        if label not in everywhere(record) or bench.ledger.get_fact(key) is not None:
            continue
        try:
            kernels = model.kernels(artifact_of(bench, record))
        except LatencyError:
            continue  # prices are then learned from whole networks
        bench.ledger.set_fact(key, [[list(kernel.shape), kernel.seconds] for kernel in kernels])


def _parts(bench: Workbench, record: Record, label: str, index: CostIndex) -> dict[int, float]:
    known = bench.ledger.get_fact(f"kernels:{record.id}:{label}")
    if known is None:
        return {}
    kernels = [KernelTime("", "", float(seconds), shape=tuple(shape)) for shape, seconds in known]
    return parts_of(kernels, index.layers(record.recipe))


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
