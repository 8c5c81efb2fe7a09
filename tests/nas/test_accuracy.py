"""Scores come from the file, not from the module it was made of."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from nas.accuracy import ScoredSet, score
from nas.data import Data, Split
from nas.export import export_artifact
from nas.teacher import Task, make_task
from search_spaces.transform import Student

X = torch.eye(3).repeat(4, 1)


def linear(*columns: int) -> nn.Module:
    """Answers with these inputs."""
    layer = nn.Linear(3, len(columns), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3)[list(columns)])
    return layer.eval()


def task_of(labels: torch.Tensor | None) -> Task:
    split = Split((X,), labels)
    return make_task("t", linear(0, 1, 2), Data(split, split, split))


def test_the_share_of_right_answers(tmp_path: Path) -> None:
    task = task_of(X.argmax(1))
    swapped = export_artifact(Student(linear(1, 0, 2)), (X[:1],), (), tmp_path / "a.onnx")
    assert score(task, swapped, ScoredSet.of(task, task.data.test)) == pytest.approx(1 / 3)


def test_without_labels_agreement_with_the_teacher(tmp_path: Path) -> None:
    task = task_of(None)
    on = ScoredSet.of(task, task.data.test)
    assert on.reference.tolist() == X.tolist()
    same = export_artifact(Student(linear(0, 1, 2)), (X[:1],), (), tmp_path / "a.onnx")
    assert score(task, same, on) == 1.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    task = replace(task_of(X.argmax(1)), metric=lambda outputs, labels: value)
    artifact = export_artifact(Student(linear(0, 1, 2)), (X[:1],), (), tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="the metric is"):
        score(task, artifact, ScoredSet.of(task, task.data.test))


def test_answers_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    task, broken = task_of(X.argmax(1)), linear(0, 1, 2)
    with torch.no_grad():
        broken.weight[0, 0] = torch.inf  # type: ignore[index]
    artifact = export_artifact(Student(broken), (X[:1],), (), tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="NaN or infinite"):
        score(task, artifact, ScoredSet.of(task, task.data.test))
