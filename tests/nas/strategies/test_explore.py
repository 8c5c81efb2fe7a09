"""Optuna around planned recipes: what is asked, told, and left behind by a killed process."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import optuna
import pytest
from optuna.trial import TrialState

from nas.record import Record
from nas.strategies.explore import ask, enqueue, explore, n_told, objectives, open_study
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


def test_the_contract() -> None:
    def propose(seed: int) -> Iterator[Recipe]:
        study = open_study(len(PLANNED), seed)
        enqueue(study, PLANNED, SITES)
        return iter(proposals(study, 8))

    found = check_strategy(propose, SITES, 4)
    assert tuple(found[:2]) == PLANNED
    assert found != list(propose(1))


def test_duplicates_are_answered_without_a_second_evaluation() -> None:
    study, evaluations = open_study(8, 0), Evaluations()
    n_trials = 16
    for _ in islice(explore(study, SITES, evaluations, lambda: True), n_trials):
        pass
    assert evaluations.n_asked == n_trials
    assert len(evaluations.known) <= 12 < n_trials  # 3 x 2 x 2 recipes in all


def test_failures_are_told_as_failures_and_scores_as_errors() -> None:
    study, evaluations = open_study(8, 0), Evaluations()
    enqueue(study, [*PLANNED, Recipe.of({"depth:b": "drop"})], SITES)
    records = list(islice(explore(study, SITES, evaluations, lambda: True), 3))
    trials = study.get_trials()[:3]
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL]
    assert trials[0].values == [1.0 - 0.8, make_latency(1 / 2).ratio]
    assert [trial.user_attrs["record"] for trial in trials] == [record.id for record in records]


def test_each_target_has_an_objective_and_one_that_refuses_is_worse_than_any() -> None:
    study = open_study(8, 0, n_targets=2)
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


def test_a_device_out_of_reach_is_a_failed_trial() -> None:
    study = open_study(8, 0)
    away = Record(PLANNED[0], accuracy=0.9, refusals={"cpu-1t": "out of reach: no answer"})
    for _ in islice(explore(study, SITES, lambda _: away, lambda: True, ("cpu-1t",)), 1):
        pass
    assert study.get_trials()[0].state == TrialState.FAIL


def test_it_stops_when_told_to() -> None:
    study = open_study(8, 0)
    left = iter([True, True, False])
    assert len(list(explore(study, SITES, scored, lambda: next(left)))) == 2


def test_planned_recipes_are_queued_once() -> None:
    study = open_study(8, 0)
    enqueue(study, [*PLANNED, PLANNED[0]], SITES)
    assert len(study.get_trials()) == 2


def test_trials_that_are_over_are_counted_failed_ones_too() -> None:
    study = open_study(8, 0)
    enqueue(study, [*PLANNED, Recipe.of({"depth:b": "drop"})], SITES)
    for _ in islice(explore(study, SITES, Evaluations(), lambda: True), 3):
        pass
    ask(study, SITES)  # and it is never told
    assert n_told(study) == 3


def test_a_search_that_was_cut_off_proposes_the_same_recipes_again() -> None:
    first, resumed = open_study(8, 0), open_study(8, 0)
    for study in (first, resumed):
        enqueue(study, PLANNED, SITES)
    asked = proposals(first, 20)
    assert proposals(resumed, 24)[:20] == asked


def test_objectives() -> None:
    record = scored(PLANNED[0])
    assert objectives(record) == [pytest.approx(0.2), make_latency(1 / 2).ratio]
    assert objectives(record, ("cpu-1t", "b-1t")) == [pytest.approx(0.2), make_latency(1 / 2).ratio, 2.0]
    assert objectives(Record(PLANNED[0], failure="it does not run")) is None
