"""Optuna around planned recipes: what is asked, told, and left behind by a killed process."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from nas.ledger import study_url
from nas.record import Record
from nas.strategies.explore import ask, enqueue, explore, open_study
from search_spaces.recipe import Recipe, Site
from tests.nas.records import make_latency
from tests.nas.strategies.contract import check_strategy

SITES = (
    Site("channels:a", "channels", (8, 4, 2)),
    Site("depth:b", "depth", ("keep", "drop")),
    Site("precision", "precision", ("float32", "int8")),
)
PLANNED = (Recipe.of({"channels:a": 4}), Recipe.of({"channels:a": 2, "precision": "int8"}))


def scored(recipe: Recipe) -> Record:
    return Record(recipe, accuracy=0.9 - 0.1 * len(recipe), latency=make_latency(1 / (1 + len(recipe))))


class Evaluations:
    """Answers from a dict what it knows, as the ledger does."""

    def __init__(self) -> None:
        self.known: dict[Recipe, Record] = {}
        self.n_asked = 0

    def __call__(self, recipe: Recipe) -> Record:
        self.n_asked += 1
        if recipe not in self.known:
            failed = "depth:b" in recipe
            self.known[recipe] = Record(recipe, failure="it does not run") if failed else scored(recipe)
        return self.known[recipe]


def proposals(study: optuna.Study, n: int) -> list[Recipe]:
    return [record.recipe for record in islice(explore(study, SITES, scored, lambda: True), n)]


def test_the_contract(tmp_path: Path) -> None:
    numbers = iter(range(100))

    def propose(seed: int) -> Iterator[Recipe]:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        study = open_study(study_url(folder), len(PLANNED), seed)
        enqueue(study, PLANNED, SITES)
        return iter(proposals(study, 8))

    found = check_strategy(propose, SITES, 4)
    assert tuple(found[:2]) == PLANNED
    assert found != list(propose(1))


def test_duplicates_are_answered_without_a_second_evaluation(tmp_path: Path) -> None:
    study, evaluations = open_study(study_url(tmp_path), 8, 0), Evaluations()
    n_trials = 16
    for _ in islice(explore(study, SITES, evaluations, lambda: True), n_trials):
        pass
    assert evaluations.n_asked == n_trials
    assert len(evaluations.known) <= 12 < n_trials  # 3 x 2 x 2 recipes in all


def test_failures_are_told_as_failures_and_scores_as_errors(tmp_path: Path) -> None:
    study, evaluations = open_study(study_url(tmp_path), 8, 0), Evaluations()
    enqueue(study, [*PLANNED, Recipe.of({"depth:b": "drop"})], SITES)
    records = list(islice(explore(study, SITES, evaluations, lambda: True), 3))
    trials = study.get_trials()[:3]
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL]
    assert trials[0].values == [1.0 - 0.8, make_latency(1 / 2).ratio]
    assert [trial.user_attrs["record"] for trial in trials] == [record.id for record in records]


def test_each_target_has_an_objective_and_one_that_refuses_is_worse_than_any(tmp_path: Path) -> None:
    study = open_study(study_url(tmp_path), 8, 0, n_targets=2)
    enqueue(study, PLANNED, SITES)
    fast = replace(make_latency(0.25), target="b-1t")

    def evaluate(recipe: Recipe) -> Record:
        both = replace(scored(recipe), elsewhere={"b-1t": fast})
        return replace(scored(recipe), refusals={"b-1t": "no int8"}) if "precision" in recipe else both

    for _ in islice(explore(study, SITES, evaluate, lambda: True, ("cpu-1t", "b-1t")), 2):
        pass
    first, second = study.get_trials()[:2]
    assert first.values == [pytest.approx(0.2), make_latency(1 / 2).ratio, 0.25]
    assert second.values == [pytest.approx(0.3), make_latency(1 / 3).ratio, 2.0]


def test_a_device_out_of_reach_is_a_failed_trial(tmp_path: Path) -> None:
    study = open_study(study_url(tmp_path), 8, 0)
    away = Record(PLANNED[0], accuracy=0.9, refusals={"cpu-1t": "out of reach: no answer"})
    for _ in islice(explore(study, SITES, lambda _: away, lambda: True, ("cpu-1t",)), 1):
        pass
    assert study.get_trials()[0].state == TrialState.FAIL


def test_it_stops_when_told_to(tmp_path: Path) -> None:
    study = open_study(study_url(tmp_path), 8, 0)
    left = iter([True, True, False])
    assert len(list(explore(study, SITES, scored, lambda: next(left)))) == 2


def test_planned_recipes_are_queued_once(tmp_path: Path) -> None:
    study = open_study(study_url(tmp_path), 8, 0)
    enqueue(study, PLANNED, SITES)
    enqueue(study, PLANNED, SITES)
    assert len(study.get_trials()) == 2


def test_trials_of_a_killed_process_are_closed_and_asked_again(tmp_path: Path) -> None:
    study = open_study(study_url(tmp_path), 8, 0)
    enqueue(study, PLANNED, SITES)
    _, lost = ask(study, SITES)  # and the process is killed before it tells
    assert lost == PLANNED[0]
    resumed = open_study(study_url(tmp_path), 8, 0)
    enqueue(resumed, PLANNED, SITES)
    assert set(proposals(resumed, 2)) == set(PLANNED)
    states = [trial.state for trial in resumed.get_trials()]
    assert states.count(TrialState.FAIL) == 1
    assert TrialState.RUNNING not in states


def test_the_study_is_a_file_that_optuna_opens(tmp_path: Path) -> None:
    study = open_study(study_url(tmp_path), 8, 0)
    proposals(study, 3)
    storage = f"sqlite:///{tmp_path}/study.sqlite"
    assert optuna.get_all_study_names(storage) == ["understudy"]
    opened = optuna.load_study(study_name="understudy", storage=storage)
    assert [direction.name for direction in opened.directions] == ["MINIMIZE", "MINIMIZE"]
    assert len(opened.best_trials) >= 1
