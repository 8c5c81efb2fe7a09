"""The search: profile, price, plan, explore, train, confirm. Short enough to read in one sitting.

Every step asks the ledger first, so a run that was killed goes on where it stopped: nothing is lost, nothing is done
twice. Time is divided by shares of the budget; what a phase leaves over goes to the ones after it.
"""

import math
from collections.abc import Callable

import torch
from optuna.trial import TrialState

from nas.confirm import confirm, finalists
from nas.distill import Lesson, is_classifier, teacher_outputs
from nas.evaluate import architecture_of, evaluate, in_precision, precisions
from nas.files import FullDiskStops
from nas.ledger import study_url
from nas.record import Record
from nas.rungs import beat, levels, spread, train, weights_path
from nas.strategies.designs import designs
from nas.strategies.explore import enqueue, explore, open_study
from nas.strategies.planner import sweep
from nas.strategies.prices import Prices, learn
from nas.strategies.sensitivity import complete, probe, probes
from nas.workbench import Workbench
from search_spaces.estimate import CostIndex
from search_spaces.recipe import Choice, Recipe

PROFILE_UNTIL, EXPLORE_UNTIL, TRAIN_UNTIL = 0.15, 0.27, 0.92
"""Shares of the time budget at which a phase hands over at the latest."""
N_PROBE, PROBE_ROWS = 128, 2048
N_CHECK = 2000
MIN_PLANNED = 4
"""Planned recipes that are scored however little time there is."""
N_FINALISTS = 14
SHORT_SHARE = 0.35
"""Of the training time for the short distillations; the rest is for the long ones."""
N_SHORT, N_LONG = 12, 6
MIN_SHORT_S, MIN_LONG_S = 4.0, 12.0
"""Fewer students are trained where there is less time than this for each."""
REPORT_S = 3.0
"""Seconds that tables, plots and page take."""
BUDGETS = (1.4, 1.0, 0.85, 0.7, 0.6, 0.5, 0.42, 0.35, 0.3, 0.25, 0.2, 0.17, 0.14)
"""Latencies that recipes are planned for, as shares of the budget."""
DEPTH_DISCOUNTS = (1.0, 0.2)
"""Closed-form repair mends a missing block far less than training does, so recipes are planned with both views."""


def search(bench: Workbench) -> None:
    """Runs every phase to its end; results are in the ledger."""
    with FullDiskStops(bench.run):
        losses = _losses(bench)
        prices = _prices(bench)
        _explore(bench, _plan(bench, losses, prices))
        _train(bench)
        _confirm(bench)
        beat(bench)


def budget_ratio(bench: Workbench) -> float:
    """The latency budget as a share of the teacher's."""
    latency = teacher_of(bench).latency
    assert latency is not None
    return bench.settings.budget.as_ratio(latency.median_s)


def teacher_of(bench: Workbench) -> Record:
    """The teacher's record."""
    record = bench.ledger.get(Recipe(), 0)
    assert record is not None
    return record


def _time_is_before(bench: Workbench, share: float) -> bool:
    return bench.deadline.elapsed_s() < share * bench.deadline.budget_s


def _losses(bench: Workbench) -> dict[str, dict[Choice, float]]:
    """What each choice loses alone."""
    generator = torch.Generator().manual_seed(bench.settings.seed)
    space = bench.space.thinned(N_PROBE, PROBE_ROWS, generator)
    todo = list(probes(space))
    bench.progress.phase("measuring what each choice loses", len(todo))
    classifier = is_classifier(bench.task, bench.space.statistics.outputs)
    found: dict[str, dict[Choice, float]] = {}
    # Interleaved, so that a short budget still leaves something known of every site.
    for site, choice in sorted(todo, key=lambda pair: pair[0].choices.index(pair[1]) % 3):
        key = f"loss:{site.name}:{choice}"
        value = bench.ledger.get_fact(key)
        if value is None:
            if not _time_is_before(bench, 0.6 * PROFILE_UNTIL) and site.name in found:
                continue
            value = probe(space, site, choice, classifier)
            value = value if math.isfinite(value) else 1e9
            bench.ledger.set_fact(key, value)
        found.setdefault(site.name, {})[choice] = float(value)
        bench.progress.advance()
        beat(bench)
    return complete(bench.space, found)


def _prices(bench: Workbench) -> dict[str, Prices]:
    """A price table for each precision, from students that are measured end to end."""
    todo = designs(bench.space, bench.seeded("designs"))
    bench.progress.phase("pricing layers on the target", len(todo) * len(precisions(bench)))
    for index, architecture in enumerate(todo):
        for precision in precisions(bench):
            if _time_is_before(bench, PROFILE_UNTIL) or index < 4:
                _evaluate(bench, in_precision(bench, architecture, precision), "priced")
    index_ = CostIndex.of(bench.space, bench.teacher_cost)
    prices = {}
    for precision in precisions(bench):
        known = [
            (index_.layers(r.recipe), r.latency.ratio)
            for r in bench.ledger.records()
            if r.ok and r.latency and str(r.recipe.get("precision", "float32")) == precision
        ]
        if len(known) > 2:
            prices[precision] = learn(known)
            bench.progress.note(f"{precision} prices: median error {100 * prices[precision].error:.1f} % "
                                f"over {len(known)} students")  # fmt: skip
    return prices


def _plan(bench: Workbench, losses: dict[str, dict[Choice, float]], prices: dict[str, Prices]) -> list[Recipe]:
    """Recipes for a sweep of budgets in every precision; computed once, then read from the ledger."""
    known = bench.ledger.get_fact("plan")
    if known is not None:
        return [Recipe.from_json(text) for text in known]
    bench.progress.phase("planning")
    index = CostIndex.of(bench.space, bench.teacher_cost)
    sites = [site for site in bench.space.sites.values() if site.kind != "precision"]
    budgets = [min(share * min(budget_ratio(bench), 1.0), 0.95) for share in BUDGETS]
    planned: dict[Recipe, None] = {}
    for discount in DEPTH_DISCOUNTS:
        weighed = {
            name: {c: v * (discount if name.startswith("depth:") else 1.0) for c, v in table.items()}
            for name, table in losses.items()
        }
        for precision, price in prices.items():
            memory: dict[Recipe, float] = {}

            def latency(recipe: Recipe, price: Prices = price, memory: dict[Recipe, float] = memory) -> float:
                if recipe not in memory:
                    memory[recipe] = price.ratio(index.layers(recipe))
                return memory[recipe]

            for recipe in sweep(sites, weighed, latency, budgets).values():
                planned[in_precision(bench, recipe, precision)] = None
            beat(bench)
    recipes = [recipe for recipe in planned if architecture_of(recipe)]
    bench.ledger.set_fact("plan", [recipe.to_json() for recipe in recipes])
    return recipes


def _explore(bench: Workbench, planned: list[Recipe]) -> None:
    """Scores the planned recipes, then what Optuna proposes around them."""
    if bench.ledger.get_fact("explored"):
        return
    bench.progress.phase("scoring repaired students")
    sites = list(bench.space.sites.values())
    study = open_study(study_url(bench.run), len(planned), bench.settings.seed)
    enqueue(study, planned, sites)
    done = (TrialState.COMPLETE, TrialState.FAIL)

    def go_on() -> bool:
        return _time_is_before(bench, EXPLORE_UNTIL) or len(study.get_trials(False, done)) < min(
            MIN_PLANNED, len(planned)
        )

    planned_set = set(planned)
    for _ in explore(study, sites, lambda r: _evaluate(bench, r, "planned" if r in planned_set else "proposed"), go_on):
        pass
    bench.ledger.set_fact("explored", True)


def _train(bench: Workbench) -> None:
    """A short distillation for the promising at each latency, a long one for the best of those."""
    end_s = TRAIN_UNTIL * bench.deadline.budget_s
    if bench.ledger.get_fact("trained") or bench.deadline.elapsed_s() >= end_s:
        return
    lesson = _lesson(bench)
    # Where nothing reaches the budget, the fastest are trained: the nearest miss should be a good one.
    fastest = min((r.latency.ratio_high for r in _rung(bench, 0) if r.ok and r.recipe and r.latency), default=1.0)
    wanted = levels(max(budget_ratio(bench), 1.5 * fastest))
    time_s = end_s - bench.deadline.elapsed_s()
    n_short = max(2, min(N_SHORT, int(SHORT_SHARE * time_s / MIN_SHORT_S)))
    short = _remembered(bench, "short", lambda: spread(_rung(bench, 0), wanted, n_short))
    if not short:
        return
    bench.progress.phase("short distillation", len(short))
    start_s = bench.deadline.elapsed_s()
    seconds = SHORT_SHARE * (end_s - start_s) / len(short)
    seconds = float(bench.ledger.get_fact("short_s") or seconds)
    bench.ledger.set_fact("short_s", seconds)
    for architecture in short:
        _report(bench, train(bench, lesson, architecture, 1, seconds, "short distillation"))
    n_long = max(1, min(N_LONG, int((1 - SHORT_SHARE) * time_s / MIN_LONG_S)))
    chosen = _remembered(bench, "long", lambda: spread(_rung(bench, 1), wanted, n_long))
    bench.progress.phase("long distillation", len(chosen))
    for position, architecture in enumerate(chosen):
        left_s = end_s - bench.deadline.elapsed_s()
        if left_s <= 0.02 * bench.deadline.budget_s and not weights_path(bench, architecture, 2).exists():
            break
        seconds = left_s / (len(chosen) - position)
        _report(bench, train(bench, lesson, architecture, 2, 0.97 * seconds, "long distillation"))
    bench.ledger.set_fact("trained", True)


def _remembered(bench: Workbench, key: str, choose: Callable[[], list[Recipe]]) -> list[Recipe]:
    """A choice of architectures that is made once a run."""
    known = bench.ledger.get_fact(key)
    if known is None:
        known = [recipe.to_json() for recipe in choose()]
        bench.ledger.set_fact(key, known)
    return [Recipe.from_json(text) for text in known]


def _lesson(bench: Workbench) -> Lesson:
    bench.progress.phase("caching the teacher's outputs")
    check = bench.validation.split.first(N_CHECK)
    return Lesson(
        bench.task,
        bench.task.data.train,
        teacher_outputs(bench.task, bench.task.data.train, lambda: beat(bench)),
        check,
        torch.from_numpy(bench.validation.reference[: len(check)]),
    )


def _confirm(bench: Workbench) -> None:
    """The front once more, on the test set."""
    teacher = teacher_of(bench)
    if bench.ledger.get_fact("confirmed"):
        return
    tested = [r for r in bench.ledger.records() if r.test_accuracy is not None and r.recipe]
    members = finalists(bench.ledger.records(), teacher, _n_affordable(bench))
    bench.progress.phase("confirming the front", len(members))
    confirm(bench, [m for m in members if m.id not in {t.id for t in tested}], teacher)
    bench.ledger.set_fact("confirmed", True)


def _n_affordable(bench: Workbench) -> int:
    """How many members can be confirmed in the time that is left, by what scoring has cost so far."""
    scored = [r for r in bench.ledger.records() if r.ok and r.recipe and r.rung]
    per_sample_s = bench.teacher_score_s / len(bench.validation.split)
    share = max((r.latency.ratio for r in scored if r.latency), default=0.5)
    each_s = 1.5 + share * per_sample_s * len(bench.task.data.test)
    left_s = bench.deadline.left_s() - REPORT_S - per_sample_s * len(bench.task.data.test)
    return max(3, min(N_FINALISTS, int(left_s / each_s)))


def _rung(bench: Workbench, rung: int) -> list[Record]:
    return [record for record in bench.ledger.records() if record.rung == rung]


def _evaluate(bench: Workbench, recipe: Recipe, note: str) -> Record:
    record = evaluate(bench, recipe, note=note)
    _report(bench, [record])
    return record


def _report(bench: Workbench, records: list[Record]) -> None:
    """Progress, and the best so far: the most accurate that meets the budget."""
    bench.progress.advance(n_failed=sum(not record.ok for record in records))
    limit = budget_ratio(bench)
    fitting = [r for r in bench.ledger.records() if r.ok and r.recipe and r.latency and r.latency.ratio_high <= limit]
    if fitting:
        best = max(fitting, key=lambda r: r.accuracy or 0.0)
        assert best.latency is not None
        assert best.accuracy is not None
        bench.progress.best(best.id, best.accuracy, best.latency.ratio)
    beat(bench)
