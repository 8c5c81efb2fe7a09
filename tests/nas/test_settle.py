"""Which predicted latencies of a search are measured after all, and what is measured again after a drift."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latency_models.artifact import Artifact
from latency_models.drift import Watched
from latency_models.latency import Latency, Visit
from latency_models.predicted import LEAST, Predicted
from nas.config import Settings
from nas.deadline import Deadline
from nas.evaluate import evaluate
from nas.latencies import everywhere, timed
from nas.ledger import open_ledger
from nas.progress import make_progress
from nas.record import Record
from nas.settle import may_be_on_the_front, on_the_front, recall, redo_drifted, settle
from nas.strategies.designs import nearest
from nas.teacher import Task
from nas.workbench import Workbench, open_workbench
from search_spaces.recipe import Recipe
from tests.nas.conftest import DATA, SPEC
from tests.nas.records import TARGET, TEACHER, make_latency, make_student, widths

LABEL = "cpu-1t"


def predicted(record: Record, half_width: float = 0.05) -> Record:
    assert record.latency is not None
    latency = make_latency(record.latency.ratio, half_width)
    return replace(record, rung=0, latency=replace(latency, source="predicted", visits=(), known_error=0.03))


def student(position: int, accuracy: float, ratio: float) -> Record:
    return make_student(widths(2, position), accuracy, None, ratio)


def test_those_on_the_front_by_a_prediction_are_told_from_those_that_were_measured() -> None:
    front, measured = predicted(student(0, 0.92, 0.5)), student(1, 0.93, 0.6)
    beaten = predicted(student(2, 0.91, 0.55))
    assert on_the_front([front, measured, beaten], TEACHER, TARGET) == [front]


def test_an_interval_that_reaches_below_a_better_one_may_be_on_the_front() -> None:
    better = student(0, 0.93, 0.50)  # its interval ends at .505
    near, far = predicted(student(1, 0.92, 0.52)), predicted(student(2, 0.92, 0.56))  # from .494 and from .532
    alone, trained = predicted(student(3, 0.94, 0.9)), replace(student(3, 0.95, 0.9), rung=1)
    assert may_be_on_the_front([better, near, far], TARGET) == [near]
    assert may_be_on_the_front([better, near, far, alone], TARGET) == [alone, near]
    # Trained, it is another with the same latency: the higher rung stands for both.
    assert may_be_on_the_front([better, near, alone, trained], TARGET) == [near]
    assert may_be_on_the_front([near], "elsewhere-1t") == []
    assert may_be_on_the_front([replace(near, failure="lost")], TARGET) == []


@pytest.fixture
def bench(tiny_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    """A fresh run that predicts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "run").mkdir()
    with opened(tiny_task, tmp_path / "run") as bench:
        yield bench


@contextmanager
def opened(task: Task, run: Path) -> Iterator[Workbench]:
    settings = Settings(SPEC, "50%", data=DATA, latency="predicted", training_threads=1, n_calibration=64)
    deadline = Deadline(300.0)
    progress = make_progress(sys.stderr, deadline.elapsed_s, deadline.left_s, "silent")
    with (
        open_ledger(run, create=True) as ledger,
        open_workbench(run, settings, task, ledger, deadline, progress) as bench,
    ):
        yield bench


def recipes(bench: Workbench, n: int) -> list[Recipe]:
    """Shrunk at random, the extremes first, so that the others lie in between."""
    sites = [site for site in bench.space.sites.values() if site.kind == "channels"]
    generator = np.random.default_rng(0)
    found: dict[Recipe, None] = {}
    while len(found) < n:
        recipe = Recipe()
        fractions = generator.uniform(0.2, 0.9, len(sites))
        if len(found) < 2:
            fractions[:] = (0.2, 0.75)[len(found)]
        for site, fraction in zip(sites, fractions, strict=True):
            recipe = recipe.replace(site, nearest(site, float(fraction)))
        found[recipe] = None
    return list(found)


def test_first_measured_then_predicted_and_what_is_on_the_front_measured_in_the_end(
    bench: Workbench, tiny_task: Task
) -> None:
    model = bench.models[LABEL]
    assert isinstance(model, Predicted)
    some = recipes(bench, 16)
    records = [evaluate(bench, recipe) for recipe in some]
    sources = [record.latency.source for record in records if record.latency is not None]
    assert sources[:LEAST] == ["measured"] * LEAST
    assert sources.count("predicted") >= 4
    assert model.n_known("float32") == sources.count("measured")
    first = next(record for record in records if record.latency is not None and record.latency.source == "predicted")
    assert first.latency is not None
    assert first.latency.known_error is not None
    assert first.latency.visits == ()
    settle(bench)
    everyone = bench.ledger.records()
    assert on_the_front(everyone, everyone[0], LABEL) == []
    assert may_be_on_the_front(everyone, LABEL) == []
    n_measured = sum(record.latency is not None and record.latency.source == "measured" for record in everyone[1:])
    assert n_measured == model.n_known("float32")
    with opened(tiny_task, bench.run) as again:  # a resumed search knows what was measured before
        recall(again)
        resumed = again.models[LABEL]
        assert isinstance(resumed, Predicted)
        assert resumed.n_known("float32") == n_measured


def test_a_trained_student_keeps_its_visits_and_one_without_is_measured(bench: Workbench) -> None:
    some = recipes(bench, 12)
    records = [evaluate(bench, recipe) for recipe in some]
    measured, guessed = records[0], next(one for one in records if one.latency and one.latency.source == "predicted")
    assert measured.latency is not None
    for record in (measured, guessed):
        trained = evaluate(bench, record.recipe, 1, bench.space.build(record.recipe))
        assert trained.latency is not None
        assert trained.latency.source == "measured"
    kept = bench.ledger.get(measured.recipe, 1)
    assert kept is not None
    assert kept.latency is not None
    assert kept.latency.visits == measured.latency.visits


def test_after_a_drift_the_visits_concerned_are_replaced(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (evaluate(bench, recipe) for recipe in recipes(bench, 2))
    assert first.latency is not None
    assert second.latency is not None
    twice = timed(bench.models, _artifact(bench, second), second, second)
    assert twice.latency is not None
    bench.ledger.put(twice)
    affected = [(_artifact(bench, first), first.latency.visits[0]), (_artifact(bench, second), twice.latency.visits[1])]
    told = [affected]
    monkeypatch.setattr(Watched, "take_affected", lambda _: told.pop() if told else [])
    notes: list[str] = []
    monkeypatch.setattr(bench.progress, "note", notes.append)
    redo_drifted(bench)
    after = {record.id: _latency(record).visits for record in bench.ledger.records()}
    assert len(after[first.id]) == 1
    assert after[first.id] != first.latency.visits
    assert len(after[second.id]) == 2
    assert after[second.id][0] == second.latency.visits[0]
    assert after[second.id][1] != twice.latency.visits[1]
    assert notes == [
        "cpu-1t has drifted: a student that was measured before takes another share of the teacher's latency now. 2 "
        "latencies are measured again"
    ]
    redo_drifted(bench)
    assert {record.id: _latency(record).visits for record in bench.ledger.records()} == after


def _artifact(bench: Workbench, record: Record) -> Artifact:
    return Artifact.from_file(bench.run / record.artifact, "float32")


def _latency(record: Record) -> Latency:
    latency = everywhere(record)[LABEL]
    assert all(isinstance(visit, Visit) for visit in latency.visits)
    return latency
