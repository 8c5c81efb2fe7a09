"""Scores come from the file, not from the module it was made of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import nas.accuracy as module
from nas.accuracy import Score, ScoredSet, counts_samples, growing_score, score, worth_more
from nas.data import Data, Split
from nas.export import export_artifact, opened
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


# Wilson's upper end at three standard deviations, worked out by hand for 200 samples: 0.85 gives 0.9105, 1.0 gives 1.0.
@pytest.mark.parametrize(
    ("share", "n_samples", "bar", "expected"),
    [
        (0.85, 200, 0.910, True),
        (0.85, 200, 0.911, False),
        (0.85, 2000, 0.88, False),
        (0.85, 20, 0.96, True),
        (0.0, 200, 0.05, False),
        (0.0, 200, 0.04, True),
        (1.0, 1, 1.0, True),
        (0.96, 200, 0.96, True),
    ],
)
def test_whether_more_samples_are_worth_it(share: float, n_samples: int, bar: float, expected: bool) -> None:
    assert worth_more(share, n_samples, bar) is expected


def test_a_share_on_the_bar_is_hardly_ever_turned_away() -> None:
    generator = np.random.default_rng(0)
    for bar in (0.1, 0.5, 0.9, 0.96):
        shares = generator.binomial(200, bar, 20000) / 200
        kept = np.mean([worth_more(float(share), 200, bar) for share in shares])
        assert kept > 0.995


@pytest.mark.parametrize(("bar", "n_samples"), [(None, 12), (0.2, 12), (0.99, 5)])
def test_scoring_ends_where_the_bar_is_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bar: float | None, n_samples: int
) -> None:
    monkeypatch.setattr(module, "LOOKS", (5, 8))
    monkeypatch.setattr(module, "Z_LOOK", 0.5)
    task = task_of(X.argmax(1))
    swapped = export_artifact(Student(linear(1, 0, 2)), (X[:1],), (), tmp_path / "a.onnx")
    found = growing_score(task, opened(swapped), ScoredSet.of(task, task.data.test), bar)
    right = int((X[:n_samples].argmax(1) == 2).sum())
    assert found.value == pytest.approx(right / n_samples)
    assert found.n_samples == n_samples


def test_another_metric_is_taken_on_the_whole_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKS", (5,))
    task = replace(task_of(X.argmax(1)), metric=lambda outputs, labels: -1.0)
    artifact = export_artifact(Student(linear(0, 1, 2)), (X[:1],), (), tmp_path / "a.onnx")
    on = ScoredSet.of(task, task.data.test)
    assert growing_score(task, opened(artifact), on, 0.9) == Score(-1.0, 12)
    assert not counts_samples(task, on)
    assert counts_samples(task_of(None), ScoredSet.of(task_of(None), task_of(None).data.test))
