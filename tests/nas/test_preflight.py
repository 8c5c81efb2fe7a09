"""Every bad teacher and every bad set is refused before any work, with its own message."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nas.data import Data, Split
from nas.errors import UserError
from nas.preflight import check
from nas.teacher import Task, make_task, weights_digest

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(64, 6, generator=GENERATOR)
Y = X[:, :4].argmax(1)


class Picks(nn.Module):
    """A perfect teacher for Y: the first four inputs are the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 4, bias=False)
        with torch.no_grad():
            self.fc.weight.copy_(torch.eye(4, 6))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(x)
        return y


def _data(inputs: tuple[Tensor, ...] = (X,), labels: Tensor | None = Y) -> Data:
    split = Split(inputs, labels)
    return Data(split, split, split)


def _task(teacher: nn.Module | None = None, data: Data | None = None) -> Task:
    """A task as it is, without the refusals of `make_task`."""
    task = make_task("t", Picks(), _data())
    module = task.teacher if teacher is None else teacher.eval().requires_grad_(False)
    return replace(task, teacher=module, data=data or task.data)


def _problem(task: Task) -> str:
    with pytest.raises(UserError) as caught:
        check(task)
    assert caught.value.exit_status == 2
    assert caught.value.remedy
    return caught.value.problem


def test_a_sound_task_has_no_notes_and_keeps_its_weights() -> None:
    task = _task()
    assert check(task) == ()
    assert weights_digest(task.teacher) == task.weights_digest


def test_a_sound_task_without_labels() -> None:
    assert check(make_task("t", Picks(), _data(labels=None))) == ()


def test_a_sound_task_with_values_as_labels() -> None:
    def metric(outputs: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
        return -float(np.abs(outputs - labels).mean())

    task = make_task("t", Picks(), _data(labels=X[:, :4].clone()), functional.mse_loss, metric)
    assert check(task) == ()


def test_no_module() -> None:
    task = replace(_task(), teacher=Picks().state_dict())  # type: ignore[arg-type]
    assert _problem(task) == "The teacher is a OrderedDict, not a torch.nn.Module."


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_named(value: float) -> None:
    picks, norm = Picks(), nn.BatchNorm1d(4)
    teacher = nn.Sequential(picks, norm)
    assert norm.running_var is not None
    with torch.no_grad():
        picks.fc.weight[1, 2] = value
        norm.running_var[0] = value
    assert _problem(_task(teacher)) == "The teacher has NaN or infinite weights in 0.fc.weight, 1.running_var."


def test_training_mode() -> None:
    task = _task(nn.Sequential(Picks(), nn.Dropout(0.0)))
    task.teacher[1].train()  # type: ignore[index]
    assert _problem(task) == "The teacher is in training mode: 1."


def test_tied_weights_are_named() -> None:
    teacher = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), Picks())
    teacher[2].weight = teacher[0].weight
    assert "The teacher has tied weights: 0.weight = 2.weight." in _problem(_task(teacher))


def test_inputs_that_do_not_fit() -> None:
    problem = _problem(_task(data=_data((X[:, :5],))))
    assert "1 input(s) of shape (1, 5) float32" in problem
    assert "`fc`, Linear(in_features=6, out_features=4, bias=False), which got (1, 5)" in problem


def test_inputs_of_another_type() -> None:
    assert "1 input(s) of shape (1, 6) int64" in _problem(_task(data=_data((X.long(),))))


class _Returns(Picks):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(x)
        answers = {
            "dict": {"logits": y},
            "sum": y.sum(),
            "first": y[:1],
            "nan": y / 0 * 0,
            "flat": y[:, 0],
            "one": y[:, :1],
        }
        return answers[self.what]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("what", "fragment"),
    [
        ("dict", "The teacher returns a dict, not a tensor."),
        ("sum", "The teacher's output has shape () for 1 sample(s): the batch axis is not kept."),
        ("first", "The teacher's output has shape (1, 4) for 2 sample(s): the batch axis is not kept."),
        ("nan", "The teacher's outputs hold NaN or infinite values on real samples."),
        ("flat", "The teacher's outputs, (1,) for one sample, do not match the classes"),
        ("one", "The teacher's outputs, (1, 1) for one sample, do not match the classes"),
    ],
)
def test_outputs_that_are_refused(what: str, fragment: str) -> None:
    assert fragment in _problem(_task(_Returns(what)))


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (Y - 1, "Labels of the train set are negative (down to -1); classes are counted from 0."),
        (Y + 1, "Labels of the train set are out of range: 1 to 4 for 4 classes."),
        (
            Y + 9,
            "Labels of the train set are out of range: they go up to 12, and the teacher's outputs match 4 classes.",
        ),
        (Y * 0 + 2, "All labels of the train set are 2: there is only one class."),
        (Y.float(), "Labels of the train set are float32 of shape (64,); classes are whole numbers of shape (n,)."),
        (
            functional.one_hot(Y).float(),
            "Labels of the train set are float32 of shape (64, 4); classes are whole numbers of shape (n,).",
        ),
        (
            Y[:, None],
            "The teacher's outputs, (1, 4) for one sample, do not match the classes: labels of the train set have "
            "shape (64, 1).",
        ),
    ],
)
def test_labels_that_are_refused(labels: Tensor, problem: str) -> None:
    assert _problem(_task(data=_data(labels=labels))) == problem


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_faults_are_found_in_each_set(name: str) -> None:
    broken = X.clone()
    broken[7, 3] = float("nan")
    good = _data()
    nan = replace(good, **{name: Split((broken,), Y)})
    assert _problem(_task(data=nan)) == f"Input 0 of the {name} set holds NaN or infinite values, first in sample 7."
    empty = replace(good, **{name: Split((X[:0],), Y[:0])})
    assert _problem(_task(data=empty)) == f"The {name} set is empty."
    one_class = replace(good, **{name: Split((X,), Y * 0)})
    assert _problem(_task(data=one_class)) == f"All labels of the {name} set are 0: there is only one class."


@pytest.mark.parametrize("name", ["validation", "test"])
def test_sets_that_differ(name: str) -> None:
    unlabelled = replace(_data(), **{name: Split((X,))})
    assert _problem(_task(data=unlabelled)) == f"The train set has labels, the {name} set has none."
    wider = replace(_data(), **{name: Split((torch.zeros(64, 7),), Y)})
    assert _problem(_task(data=wider)) == (
        f"Samples of the {name} set have shapes ((7,),), those of the train set ((6,),)."
    )


class _Dropping(Picks):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(self.fc(x), 0.5, training=True)


def test_a_teacher_that_draws_at_random() -> None:
    assert "different outputs for the same inputs" in _problem(_task(_Dropping()))


def test_a_teacher_that_depends_on_the_batch() -> None:
    # Several values a channel: batch norm refuses a single value outright.
    images = X[:, :, None].expand(-1, -1, 5) * torch.linspace(0.5, 1.5, 5)
    teacher = nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False), nn.Flatten(), nn.Linear(30, 4))
    assert _problem(_task(teacher, _data((images.contiguous(),)))) == (
        "The teacher's output for a sample changes with the other samples of its batch."
    )


class _Decides(Picks):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(x)
        return y * 2 if float(x[0, 0]) > 0 else y


class _DecidesAlone(Picks):
    """Decides by each sample, so that only the traced graph gives it away."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([row * 2 if float(row[0]) > 0 else row for row in self.fc(x)])


def test_a_teacher_that_decides_by_its_inputs_cannot_be_traced() -> None:
    problem = _problem(_task(_DecidesAlone()))
    first_other = int(((X[:, 0] > 0) != (X[0, 0] > 0)).nonzero()[0])
    assert f"cannot be traced: on validation sample {first_other} the traced graph does not give" in problem
    assert "changes with the other samples" in _problem(_task(_Decides()))


class _Solves(Picks):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(x)
        solution: Tensor = torch.linalg.lstsq(torch.eye(4), y.T).solution
        return y + solution.T


def test_an_operation_that_onnx_lacks() -> None:
    assert "The teacher cannot be traced to ONNX: " in _problem(_task(_Solves()))
    assert "lstsq" in _problem(_task(_Solves()))


class _TwoInputs(Picks):
    def forward(self, x: Tensor, unused: Tensor) -> Tensor:  # type: ignore[override]
        y: Tensor = self.fc(x)
        return y


def test_an_input_without_effect() -> None:
    problem = _problem(_task(_TwoInputs(), _data((X, X))))
    assert problem == "The teacher has 2 input(s), of which 1 reach its output."


def test_the_given_trace_is_used() -> None:
    def trace(module: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
        assert [tuple(tensor.shape) for tensor in inputs] == [(1, 6)]
        raise RuntimeError("no such exporter")

    with pytest.raises(UserError, match="cannot be traced to ONNX: no such exporter"):
        check(_task(), trace)


def test_a_teacher_no_better_than_chance_is_noted() -> None:
    teacher = Picks()
    with torch.no_grad():
        teacher.fc.weight.neg_()
    (note,) = check(_task(teacher))
    assert note.startswith("The teacher is no better than chance on validation data (0.0%")


def test_classes_without_samples_are_noted() -> None:
    keep = Y < 3
    assert check(_task(data=_data((X[keep],), Y[keep]))) == ("The labels use 3 of the teacher's 4 classes.",)
