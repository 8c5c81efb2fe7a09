"""Which students are trained, and that training is neither lost nor done twice."""

from pathlib import Path

import pytest
import torch

import nas.rungs as module
from nas.answers import Answers
from nas.distill import Lesson
from nas.evaluate import architecture_of
from nas.record import Record
from nas.rungs import candidates_of, checkpoint_path, train, weights_path
from nas.workbench import Workbench
from search_spaces.recipe import Choice, Recipe
from tests.nas.records import make_student


def student(width: int, accuracy: float, ratio: float, precision: str = "float32") -> Record:
    choices: dict[str, Choice] = {"channels:a": width}
    if precision != "float32":
        choices["precision"] = precision
    return make_student(choices, accuracy, None, ratio)


def of(width: int) -> Recipe:
    return Recipe.of({"channels:a": width})


def test_an_architecture_in_two_precisions_is_one_candidate() -> None:
    records = [
        student(6, 0.93, 0.4),
        student(6, 0.92, 0.35, "int8"),
        student(5, 0.91, 0.3),
        Record(of(2), failure="it does not run"),
        Record(Recipe(), accuracy=0.98),
    ]
    label = records[0].latency.target if records[0].latency else ""
    found = candidates_of(records, [label])
    assert {architecture: one.points for architecture, one in found.items()} == {
        of(6): {label: [(0.4, 0.93), (0.35, 0.92)]},
        of(5): {label: [(0.3, 0.91)]},
    }
    assert found[of(6)].name == of(6).digest
    assert candidates_of(records, ["elsewhere"]) == {}


def lesson_of(bench: Workbench) -> Lesson:
    task = bench.task
    check = task.data.validation
    assert check.labels is not None
    asked = Answers(task, check).on(torch.arange(len(check)))
    reference = check.labels
    return Lesson(task, task.data.train, Answers(task, task.data.train), check, reference, asked)


def an_architecture(bench: Workbench) -> Recipe:
    site = next(site for site in bench.space.sites.values() if site.kind == "channels")
    return Recipe().replace(site, site.choices[3])


def test_a_training_ends_in_weights_and_a_record_for_each_precision(tiny_bench: Workbench) -> None:
    architecture, lesson = an_architecture(tiny_bench), lesson_of(tiny_bench)
    records = train(tiny_bench, lesson, architecture, 0.5)
    assert [record.recipe.get("precision", "float32") for record in records] == ["float32", "int8"]
    assert all(record.ok and record.rung == 1 for record in records)
    assert {architecture_of(record.recipe) for record in records} == {architecture}
    assert all(0.2 < record.train_s < 2 for record in records)
    path = weights_path(tiny_bench, architecture)
    assert path.is_file()
    assert not checkpoint_path(path).exists()


def test_what_is_trained_is_not_trained_again(tiny_bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture, lesson = an_architecture(tiny_bench), lesson_of(tiny_bench)
    first = train(tiny_bench, lesson, architecture, 0.3)

    def never(*_: object) -> None:
        raise AssertionError("trained twice")

    monkeypatch.setattr(module, "distill", never)
    assert train(tiny_bench, lesson, architecture, 0.3) == first


def test_weights_without_records_are_only_scored(tiny_bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the weights and the records."""
    architecture, lesson = an_architecture(tiny_bench), lesson_of(tiny_bench)
    evaluate = module.evaluate

    def killed(*_: object) -> Record:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_bench, lesson, architecture, 0.3)
    path: Path = weights_path(tiny_bench, architecture)
    content = path.read_bytes()
    monkeypatch.setattr(module, "evaluate", evaluate)
    records = train(tiny_bench, lesson, architecture, 0.3)
    assert path.read_bytes() == content
    assert all(record.ok and record.train_s > 0.1 for record in records)
