"""The search: profile, price, plan, explore, train, confirm. Short enough to read in one sitting.

Every step asks the ledger first, so a run that was killed goes on where it stopped: nothing is lost, nothing is done
twice. Time is divided by shares of the budget; what a phase leaves over goes to the ones after it.
"""

from collections.abc import Callable

import torch
from optuna.trial import TrialState

from nas.ask_again import ask_again
from nas.confirm import confirm, finalists
from nas.distill import Lesson, teacher_outputs
from nas.evaluate import beat, evaluate_and_report, report
from nas.files import FullDiskStops
from nas.latencies import everywhere
from nas.ledger import study_url
from nas.planning import planned
from nas.record import Record
from nas.rungs import levels, spread, train, weights_path
from nas.strategies.explore import enqueue, explore, open_study
from nas.workbench import Workbench, budget_ratio, teacher_of, time_is_before
from search_spaces.recipe import Recipe

EXPLORE_UNTIL, TRAIN_UNTIL = 0.27, 0.92
"""Shares of the time budget at which a phase hands over at the latest."""
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


def search(bench: Workbench) -> None:
    """Runs every phase to its end; results are in the ledger."""
    with FullDiskStops(bench.run):
        _explore(bench, planned(bench))
        ask_again(bench)
        _train(bench)
        ask_again(bench)
        _confirm(bench)
        beat(bench)


def _explore(bench: Workbench, plan: list[Recipe]) -> None:
    """Scores the planned recipes, then what Optuna proposes around them."""
    if bench.ledger.get_fact("explored"):
        return
    bench.progress.phase("scoring repaired students")
    sites = list(bench.space.sites.values())
    study = open_study(study_url(bench.run), len(plan), bench.settings.seed, len(bench.models))
    enqueue(study, plan, sites)
    done = (TrialState.COMPLETE, TrialState.FAIL)

    def go_on() -> bool:
        n_least = min(MIN_PLANNED, len(plan))
        return time_is_before(bench, EXPLORE_UNTIL) or len(study.get_trials(False, done)) < n_least

    def score(recipe: Recipe) -> Record:
        return evaluate_and_report(bench, recipe, "planned" if recipe in planned_set else "proposed")

    planned_set = set(plan)
    for _ in explore(study, sites, score, go_on, tuple(bench.models)):
        pass
    bench.ledger.set_fact("explored", True)


def _train(bench: Workbench) -> None:
    """A short distillation for the promising at each latency on each target, a long one for the best of those."""
    end_s = TRAIN_UNTIL * bench.deadline.budget_s
    if bench.ledger.get_fact("trained") or bench.deadline.elapsed_s() >= end_s:
        return
    lesson = _lesson(bench)
    wanted = {label: levels(_level(bench, label)) for label in bench.models}
    time_s = end_s - bench.deadline.elapsed_s()
    n_short = max(2, min(N_SHORT, int(SHORT_SHARE * time_s / MIN_SHORT_S)))
    short = _remembered(bench, "short", lambda: spread(_views(bench, 0), wanted, n_short))
    if not short:
        return
    bench.progress.phase("short distillation", len(short))
    start_s = bench.deadline.elapsed_s()
    seconds = SHORT_SHARE * (end_s - start_s) / len(short)
    seconds = float(bench.ledger.get_fact("short_s") or seconds)
    bench.ledger.set_fact("short_s", seconds)
    for architecture in short:
        report(bench, train(bench, lesson, architecture, 1, seconds, "short distillation"))
    ask_again(bench)
    n_long = max(1, min(N_LONG, int((1 - SHORT_SHARE) * time_s / MIN_LONG_S)))
    chosen = _remembered(bench, "long", lambda: spread(_views(bench, 1), wanted, n_long))
    if not chosen:
        return
    bench.progress.phase("long distillation", len(chosen))
    for position, architecture in enumerate(chosen):
        left_s = end_s - bench.deadline.elapsed_s()
        if left_s <= 0.02 * bench.deadline.budget_s and not weights_path(bench, architecture, 2).exists():
            break
        seconds = left_s / (len(chosen) - position)
        report(bench, train(bench, lesson, architecture, 2, 0.97 * seconds, "long distillation"))
    bench.ledger.set_fact("trained", True)


def _level(bench: Workbench, label: str) -> float:
    """The latency that students are trained for; where nothing reaches the budget, that of the nearest misses."""
    ratios = [everywhere(r)[label].ratio_high for r in bench.ledger.records() if r.recipe and label in everywhere(r)]
    return max(budget_ratio(bench, label), 1.5 * min(ratios, default=1.0))


def _views(bench: Workbench, rung: int) -> dict[str, list[Record]]:
    """The records of a rung as each target sees them."""
    records = [record for record in bench.ledger.records() if record.rung == rung]
    return {label: [record.on(label) for record in records] for label in bench.models}


def _remembered(bench: Workbench, key: str, choose: Callable[[], list[Recipe]]) -> list[Recipe]:
    """A choice of architectures that is made once a run, unless there was nothing to choose from."""
    known = bench.ledger.get_fact(key)
    if not known:
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
    """The fronts once more, on the test set."""
    teacher = teacher_of(bench)
    if bench.ledger.get_fact("confirmed"):
        return
    records = bench.ledger.records()
    members = finalists(records, teacher, _n_affordable(bench, records), tuple(bench.models))
    bench.progress.phase("confirming the front", len(members))
    confirm(bench, members, teacher)
    bench.ledger.set_fact("confirmed", True)


def _n_affordable(bench: Workbench, records: list[Record]) -> int:
    """How many members can be confirmed in the time that is left, by what scoring has cost so far."""
    scored = [r for r in records if r.ok and r.recipe and r.rung]
    per_sample_s = bench.teacher_score_s / len(bench.validation.split)
    share = max((r.latency.ratio for r in scored if r.latency), default=0.5)
    each_s = 1.5 * len(bench.models) + share * per_sample_s * len(bench.task.data.test)
    left_s = bench.deadline.left_s() - REPORT_S - per_sample_s * len(bench.task.data.test)
    return max(3, min(N_FINALISTS, int(left_s / each_s)))
