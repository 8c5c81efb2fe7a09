"""Distillation on a clock of the test's own: every reading is one tick later."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.answers import Answers
from nas.data import Data, Split
from nas.descent import Descent
from nas.distill import (
    LABEL_WEIGHT,
    Lesson,
    Training,
    distill,
    distillation_loss,
    is_classifier,
    learning_rate,
    schedule,
)
from nas.teacher import Task, make_task, references


class Broken(Exception):
    """What cuts a training off in these tests."""


def ticking(tick_s: float = 1.0) -> Callable[[], float]:
    """A clock that moves on by one tick each time it is read."""
    readings = iter(range(10**9))
    return lambda: next(readings) * tick_s


def network(n_out: int = 3, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, n_out)).eval()


def teacher(n_out: int = 3) -> nn.Module:
    """Four times the first inputs, through the same layers as the students."""
    module = network(n_out)
    with torch.no_grad():
        for layer, eye in ((module[0], torch.eye(5)), (module[3], 4 * torch.eye(n_out, 5))):  # type: ignore[index]
            layer.bias.zero_()
            layer.weight.zero_()
            rows, columns = eye.shape
            layer.weight[:rows, :columns] += eye
            if layer is module[0]:  # type: ignore[index]
                layer.weight[rows : 2 * rows, :columns] -= eye
            else:
                layer.weight[:rows, columns : 2 * columns] -= eye
    return module


def split(n: int, labels: Callable[[Tensor], Tensor] | None, seed: int) -> Split:
    inputs = torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))
    return Split((inputs,), None if labels is None else labels(inputs))


def classes_task() -> Task:
    """Three classes, of which the teacher is always right."""

    def labels(inputs: Tensor) -> Tensor:
        return inputs[:, :3].argmax(1)

    return make_task("t", teacher(), Data(split(256, labels, 0), split(128, labels, 1), split(64, labels, 2)))


def unlabelled_task(n_out: int = 3) -> Task:
    return make_task("t", teacher(n_out), Data(split(256, None, 0), split(128, None, 1), split(64, None, 2)))


def lesson_of(task: Task) -> Lesson:
    check = task.data.validation
    asked = Answers(task, check).on(torch.arange(len(check)))
    reference = torch.from_numpy(references(task, check))
    return Lesson(task, task.data.train, Answers(task, task.data.train), check, reference, asked)


def score_of(module: nn.Module, lesson: Lesson) -> float:
    with torch.no_grad():
        outputs = module(*lesson.check.inputs).numpy()
    return lesson.task.metric(outputs, lesson.check_reference.numpy())


def train(student: nn.Module, lesson: Lesson, seconds: float = 600.0, rate: float = 0.05, **more: Any) -> Training:
    generator = torch.Generator().manual_seed(0)
    return distill(student, lesson, seconds, rate, generator, ticking(), **more)


def test_the_schedule_in_numbers() -> None:
    assert schedule(0.0) == pytest.approx(0.05)
    assert schedule(0.025) == pytest.approx(0.525)
    assert schedule(0.05) == pytest.approx(1.001)
    assert schedule(0.525) == pytest.approx(0.501)
    assert schedule(1.0) == pytest.approx(0.001)
    assert schedule(3.0) == pytest.approx(0.001)


def test_smaller_students_learn_faster() -> None:
    assert [learning_rate(share) for share in (1.0, 0.5, 0.0, -1.0, 2.0)] == pytest.approx(
        [0.02, 0.045, 0.07, 0.07, 0.02]
    )


def test_the_loss_of_classes_by_hand() -> None:
    task = classes_task()
    outputs = torch.tensor([[4 * math.log(2.0), 0.0, 0.0]])
    wanted = torch.zeros(1, 3)
    # At temperature 4 the student says (1/2, 1/4, 1/4): KL(1/3 || it) = log(4/3) - 1/3 log 2.
    divergence = 16 * (math.log(4 / 3) - math.log(2) / 3)
    assert float(distillation_loss(task, outputs, wanted, None)) == pytest.approx(divergence, rel=1e-5)
    labels = torch.tensor([0])
    expected = (1 - LABEL_WEIGHT) * divergence + LABEL_WEIGHT * math.log(18 / 16)
    assert float(distillation_loss(task, outputs, wanted, labels)) == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_values_by_hand() -> None:
    task = unlabelled_task(n_out=1)
    wanted = torch.tensor([[1.0], [3.0]])
    assert not is_classifier(task, wanted)
    assert float(distillation_loss(task, wanted + 1, wanted, None)) == pytest.approx(0.5)


def test_one_column_is_never_a_classifier_and_two_without_labels_are() -> None:
    assert is_classifier(unlabelled_task(3), torch.zeros(4, 3))
    assert not is_classifier(unlabelled_task(1), torch.zeros(4, 1))
    assert not is_classifier(unlabelled_task(3), torch.zeros(4, 3, 2))
    assert is_classifier(classes_task(), torch.zeros(4, 3))


def test_a_student_learns_and_comes_back_frozen_in_eval_mode() -> None:
    lesson, student = lesson_of(classes_task()), network()
    before = score_of(student, lesson)
    training = train(student, lesson)
    assert training.before == pytest.approx(before)
    assert training.after > before + 0.2
    assert score_of(student, lesson) == pytest.approx(training.after, abs=0.02)
    assert not student.training
    assert not any(p.requires_grad for p in student.parameters())


def test_the_time_is_kept_and_counted() -> None:
    training = train(network(), lesson_of(classes_task()), seconds=100.0)
    assert 90 <= training.spent_s <= 110
    assert 20 <= training.n_steps <= 100


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_without_time_nothing_is_trained(seconds: float) -> None:
    lesson, student = lesson_of(classes_task()), network()
    weights = {name: value.clone() for name, value in student.state_dict().items()}
    training = train(student, lesson, seconds=seconds)
    assert training.n_steps == 0
    assert all(torch.equal(weights[name], value) for name, value in student.state_dict().items())


@pytest.mark.parametrize("rate", [1e3, 1e30, math.inf])
def test_an_absurd_rate_ends_no_worse_than_it_began(rate: float) -> None:
    lesson, student = lesson_of(classes_task()), teacher()  # nothing can be better
    before = score_of(student, lesson)
    assert before == 1.0
    training = train(student, lesson, seconds=200.0, rate=rate)
    assert training.after == training.before == 1.0
    assert score_of(student, lesson) == 1.0
    assert all(torch.isfinite(value).all() for value in student.state_dict().values())


def test_an_explosion_is_survived_and_learning_goes_on() -> None:
    lesson, student = lesson_of(classes_task()), network()
    training = train(student, lesson, seconds=900.0, rate=1e4)
    assert training.after > training.before
    assert all(torch.isfinite(value).all() for value in student.state_dict().values())


def test_weights_that_the_metric_finds_worse_than_before_are_not_kept() -> None:
    answers = iter([0.5])
    lesson = lesson_of(replace(classes_task(), metric=lambda outputs, labels: next(answers, 0.4)))
    student = network()
    weights = {name: value.clone() for name, value in student.state_dict().items()}
    training = train(student, lesson)
    assert training.n_steps > 100
    assert (training.before, training.after) == (0.5, 0.5)
    assert all(torch.equal(weights[name], value) for name, value in student.state_dict().items())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_no_number_is_never_the_best(value: float) -> None:
    answers = iter([0.5, value, 0.7])
    lesson = lesson_of(replace(classes_task(), metric=lambda outputs, labels: next(answers, value)))
    training = train(network(), lesson)
    assert (training.before, training.after) == (0.5, 0.7)


def test_of_weights_that_the_metric_cannot_tell_apart_the_nearest_to_the_teacher_are_kept() -> None:
    lesson = lesson_of(replace(classes_task(), metric=lambda outputs, labels: 0.5))
    student = network()

    def distance() -> float:
        with torch.no_grad():
            outputs = student(*lesson.check.inputs)
        return float(distillation_loss(lesson.task, outputs, lesson.check_answers, None))

    before = distance()
    train(student, lesson)
    assert distance() < 0.5 * before


def test_without_labels_it_follows_the_teacher() -> None:
    lesson, student = lesson_of(unlabelled_task()), network()
    training = train(student, lesson)
    assert training.after > training.before + 0.2


def test_values_are_learned_too() -> None:
    def metric(outputs: np.ndarray, labels: np.ndarray) -> float:
        return -float(np.square(outputs - labels).mean())

    def labels(inputs: Tensor) -> Tensor:
        return inputs[:, :1] * 4

    data = Data(split(256, labels, 0), split(128, labels, 1), split(64, labels, 2))
    task = make_task("t", teacher(1), data, functional.mse_loss, metric)
    student = network(1)
    training = train(student, lesson_of(task), rate=0.01)
    assert training.after > training.before


def test_it_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.distill.CHECKPOINT_S", 20.0)
    lesson, path = lesson_of(classes_task()), tmp_path / "student.checkpoint"
    n_reports = 0

    def report() -> None:
        nonlocal n_reports
        n_reports += 1
        if n_reports == 6:
            raise Broken

    with pytest.raises(Broken):
        train(network(), lesson, report=report, checkpoint=path)
    saved = torch.load(path, weights_only=True)
    n_saved, spent_s = saved["state"]["n_steps"], saved["state"]["spent_s"]
    assert 0 < n_saved <= 96
    momenta = saved["optimizer"]["momenta"]
    assert all(buffer.abs().sum() > 0 for buffer in momenta)

    restored: list[Tensor] = []
    load = Descent.load_state_dict

    def spy(optimizer: Descent, state: dict[str, list[Tensor]]) -> None:
        load(optimizer, state)
        restored.extend(momentum.clone() for momentum in optimizer.state_dict()["momenta"])

    monkeypatch.setattr(Descent, "load_state_dict", spy)
    student = network(seed=99)  # its own weights do not matter
    training = train(student, lesson, checkpoint=path)
    assert len(restored) == len(momenta)
    assert all(torch.equal(a, b) for a, b in zip(restored, momenta, strict=True))
    assert training.n_steps > n_saved
    assert training.before == saved["state"]["before"]
    assert training.after >= saved["state"]["best_score"]
    # The whole training took its seconds, not those again.
    assert spent_s < training.spent_s <= 640


def test_a_training_that_was_over_time_is_only_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.distill.CHECKPOINT_S", 5.0)
    lesson, path = lesson_of(classes_task()), tmp_path / "student.checkpoint"
    first = train(network(), lesson, seconds=100.0, checkpoint=path)
    n_saved = torch.load(path, weights_only=True)["state"]["n_steps"]
    again = train(network(), lesson, seconds=50.0, checkpoint=path)
    assert again.n_steps == n_saved <= first.n_steps
    assert again.after >= again.before
