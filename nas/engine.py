"""The search: profile, price, plan, explore, train, confirm. Short enough to read in one sitting.

Every step asks the ledger first, so a run that was killed goes on where it stopped: nothing is lost, nothing is done
twice. Time is divided by shares of the budget; what a phase leaves over goes to the ones after it.
"""

import torch

from nas.answers import Answers
from nas.ask_again import ask_again
from nas.confirm import N_VISITS, confirm, finalists
from nas.distill import N_BATCH, Lesson
from nas.evaluate import beat, evaluate_and_report, report
from nas.files import FullDiskStops
from nas.latencies import everywhere
from nas.planning import planned
from nas.record import Record
from nas.rungs import candidates_of, train, weights_path
from nas.settle import recall, redo_drifted, settle
from nas.shares import N_CONFIRMED, N_TEST_LEAST, REPORT_S, has_time_to_plan, training_end_s, visit_s
from nas.strategies.training import worth_training
from nas.workbench import Workbench, budget_ratio, teacher_of, time_is_before
from search_spaces.recipe import Recipe

EXPLORE_UNTIL = 0.2
"""Share of the time budget at which exploring hands over to training."""
N_CHECK = 512
MIN_PLANNED = 6
"""Planned recipes that are scored however little time there is."""
N_FINALISTS = 14
FLOOR_DROPS = 8.0
"""Accuracy drops of the student of choice below which others hardly count: they are trained and confirmed last."""
N_TRAINED = 8
"""Students that are distilled, at most."""
SCORING_SHARE = 0.7
"""Of the time that is left, goes into test scores; members' files and what each sample costs beside the network take
the rest."""
N_LEAST = 2048
"""Samples that students learn from however slow the teacher is."""
ANSWERS_SHARE = 0.12
"""Of the training time, at most, goes into the teacher's outputs: students share the samples that are paid for."""


def search(bench: Workbench) -> None:
    """Runs every phase to its end; results are in the ledger."""
    with FullDiskStops(bench.run):
        recall(bench)
        _explore(bench, planned(bench))
        ask_again(bench)
        _train(bench)
        ask_again(bench)
        _confirm(bench)
        beat(bench)


def _explore(bench: Workbench, plan: list[Recipe]) -> None:
    """Scores the planned recipes, then what Optuna proposes around them; where nothing is planned it would guess."""
    if bench.ledger.get_fact("explored"):
        return
    bench.progress.phase("scoring repaired students")
    if has_time_to_plan(bench):
        _explore_around(bench, plan)
    redo_drifted(bench)
    bench.ledger.set_fact("explored", True)


def _explore_around(bench: Workbench, plan: list[Recipe]) -> None:
    # Here, as importing Optuna takes as long as a candidate.
    from nas.strategies.explore import enqueue, explore, n_told, open_study

    sites = list(bench.space.sites.values())
    study = open_study(len(plan), bench.settings.seed, len(bench.models))
    enqueue(study, plan, sites)

    def go_on() -> bool:
        left_s = training_end_s(bench) - bench.deadline.elapsed_s()
        n_least = min(MIN_PLANNED, len(plan))
        return left_s > 0 and (time_is_before(bench, EXPLORE_UNTIL) or n_told(study) < n_least)

    def score(recipe: Recipe) -> Record:
        return evaluate_and_report(bench, recipe, "planned" if recipe in planned_set else "proposed")

    planned_set = set(plan)
    for _ in explore(study, sites, score, go_on, tuple(bench.models)):
        pass


def _train(bench: Workbench) -> None:
    """Distils those whose training is expected to bring most together."""
    end_s = training_end_s(bench)
    if bench.ledger.get_fact("trained") or bench.deadline.elapsed_s() >= end_s:
        return
    time_s = float(bench.ledger.get_fact("training_s") or end_s - bench.deadline.elapsed_s())
    lesson = _lesson(bench, time_s)
    known = bench.ledger.get_fact("worth_training")
    if not known:
        known = [architecture.to_json() for architecture in _worth_training(bench, time_s)]
        bench.ledger.set_fact("worth_training", known)
    if not known:
        return  # not "trained": a resumed search may have latencies to choose by
    bench.ledger.set_fact("training_s", time_s)
    _distil_each(bench, lesson, [Recipe.from_json(text) for text in known], end_s)
    bench.ledger.set_fact("trained", True)


def _distil_each(bench: Workbench, lesson: Lesson, architectures: list[Recipe], end_s: float) -> None:
    """Distils one after the other; each has an equal part of the time that is left until `end_s`, scoring included:
    small students, whose steps take less, gain from more of them."""
    bench.progress.phase("distillation", len(architectures))
    scoring_s = min(1.0, bench.teacher_score_s)
    for position, architecture in enumerate(architectures):
        left_s = end_s - bench.deadline.elapsed_s()
        if left_s <= 0.02 * bench.deadline.budget_s and not weights_path(bench, architecture).exists():
            return
        part_s, started_s = left_s / (len(architectures) - position), bench.deadline.elapsed_s()
        records = train(bench, lesson, architecture, part_s - scoring_s)
        scoring_s = max(0.0, bench.deadline.elapsed_s() - started_s - max(0.0, part_s - scoring_s))
        report(bench, records)


def _level(bench: Workbench, label: str) -> float:
    """The latency that students are trained for; where nothing reaches the budget, that of the nearest misses."""
    ratios = [everywhere(r)[label].ratio_high for r in bench.ledger.records() if r.recipe and label in everywhere(r)]
    return max(budget_ratio(bench, label), 1.5 * min(ratios, default=1.0))


def _worth_training(bench: Workbench, time_s: float) -> list[Recipe]:
    """Architectures that are worth training in so many seconds."""
    teacher_score = teacher_of(bench).accuracy
    assert teacher_score is not None
    candidates = candidates_of(bench.ledger.records(), bench.models)
    limits = {label: _level(bench, label) for label in bench.models}
    n_batches = time_s / (N_BATCH * float(bench.ledger.get_fact("answer_s")))
    names = worth_training(list(candidates.values()), teacher_score, _floor(bench), limits, N_TRAINED, n_batches)
    by_name = {one.name: architecture for architecture, one in candidates.items()}
    return [by_name[name] for name in names]


def _floor(bench: Workbench) -> float:
    """The score below which a student hardly matters."""
    teacher_score = teacher_of(bench).accuracy
    assert teacher_score is not None
    return teacher_score - FLOOR_DROPS * bench.settings.max_accuracy_drop_share


def _lesson(bench: Workbench, time_s: float) -> Lesson:
    """What students learn from in so many seconds: samples whose answers the teacher can give in a part of them."""
    train = bench.task.data.train
    generator = torch.Generator().manual_seed(int(bench.seeded("lesson").integers(2**31)))
    order = torch.randperm(len(train), generator=generator)
    check = bench.validation.split.first(N_CHECK)
    reference = torch.from_numpy(bench.validation.reference[: len(check)])
    answers, started_s = Answers(bench.task, check), bench.deadline.elapsed_s()
    asked = answers.on(torch.arange(len(check)))
    n = bench.ledger.get_fact("n_lesson")
    if n is None:
        each_s = max(bench.deadline.elapsed_s() - started_s, 1e-6) / len(check)
        n = min(len(train), max(N_LEAST, int(ANSWERS_SHARE * time_s / each_s)))
        bench.ledger.set_fact("n_lesson", n)
        bench.ledger.set_fact("answer_s", each_s)
    train = train if n == len(train) else train.take(order[:n])
    return Lesson(bench.task, train, Answers(bench.task, train), check, reference, asked)


def _confirm(bench: Workbench) -> None:
    """The fronts once more, on the test set."""
    teacher = teacher_of(bench)
    if bench.ledger.get_fact("confirmed"):
        return
    settle(bench)
    records = bench.ledger.records()
    left_s = bench.deadline.left_s() - REPORT_S
    n_members = max(N_CONFIRMED, min(N_FINALISTS, int(0.5 * left_s / (N_VISITS * visit_s(bench)))))
    members = finalists(records, teacher, n_members, tuple(bench.models), _floor(bench))
    bench.progress.phase("confirming the front", len(members))
    confirm(bench, members, teacher, lambda: _n_test(bench, members))
    bench.ledger.set_fact("confirmed", True)


def _n_test(bench: Workbench, members: list[Record]) -> int:
    """Test samples that the teacher and all members can be scored on in the time that is left."""
    time_s = SCORING_SHARE * (bench.deadline.left_s() - REPORT_S)
    teacher_s = bench.teacher_score_s / len(bench.validation.split)
    work = 1 + sum(record.latency.ratio for record in members if record.latency)
    return max(N_TEST_LEAST, int(time_s / (work * teacher_s)))
