"""Tasks: the frozen copy of the teacher, its digest, and the default metrics."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.data import Data, Split
from nas.errors import UserError
from nas.teacher import agreement, first_outputs, make_task, references, top1_accuracy, weights_digest

X = torch.linspace(-1, 1, 24).reshape(8, 3)


def _data(labels: Tensor | None) -> Data:
    split = Split((X,), labels)
    return Data(split, split, split)


def _linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 4)


def test_the_users_module_is_left_alone() -> None:
    teacher = nn.Sequential(nn.Dropout(0.5), _linear().double()).train()
    before = copy.deepcopy(teacher.state_dict())
    task = make_task("t", teacher, _data(torch.arange(8) % 4))
    assert teacher.training
    assert all(p.requires_grad and p.dtype == torch.float64 for p in teacher.parameters())
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert not any(module.training for module in task.teacher.modules())
    assert not any(p.requires_grad or p.dtype != torch.float32 for p in task.teacher.parameters())


def test_defaults_for_classes() -> None:
    task = make_task("t", _linear(), _data(torch.arange(8) % 4))
    assert (task.loss, task.metric, task.n_classes) == (functional.cross_entropy, top1_accuracy, 4)


def test_defaults_without_labels() -> None:
    task = make_task("t", _linear(), _data(None))
    assert (task.metric, task.n_classes) == (agreement, None)
    expected = references(task, task.data.test)
    assert np.allclose(expected, task.teacher(X).numpy())
    assert task.metric(expected, expected) == 1.0


def test_references_are_the_labels_where_there_are_labels() -> None:
    task = make_task("t", _linear(), _data(torch.arange(8) % 4))
    assert references(task, task.data.test).tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_given_callables_are_kept() -> None:
    def metric(outputs: object, labels: object) -> float:
        return 0.5

    task = make_task("t", _linear(), _data(torch.zeros(8, 4)), functional.mse_loss, metric)
    assert (task.loss, task.metric, task.n_classes) == (functional.mse_loss, metric, None)


def test_digest_follows_weights_and_names() -> None:
    one, same, other = _linear(), _linear(), _linear()
    with torch.no_grad():
        other.bias[0] += 1e-6
    assert weights_digest(one) == weights_digest(same)
    assert len(weights_digest(one)) == 64
    assert len({weights_digest(m) for m in (one, other, nn.Sequential(same))}) == 3


def test_top1_accuracy_of_rows_and_of_pixels() -> None:
    outputs = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], dtype=np.float32)
    assert top1_accuracy(outputs, np.array([1, 0, 0, 0])) == 0.75
    assert top1_accuracy(outputs.reshape(1, 2, 2, 2), np.array([[[1, 1], [0, 0]]])) == 0.5


def test_agreement_of_classifiers_is_the_share_of_equal_classes() -> None:
    teacher = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    student = np.array([[0.6, 0.4], [0.6, 0.4], [5.0, 0.0], [0.0, 9.0]], dtype=np.float32)
    assert agreement(student, teacher) == 0.75


def test_agreement_of_values_is_one_less_the_normalised_error() -> None:
    teacher = np.array([[1.0], [3.0]], dtype=np.float32)  # mean 2, spread sqrt(2)
    assert agreement(teacher, teacher) == 1.0
    assert agreement(np.array([[1.0], [2.0]], dtype=np.float32), teacher) == pytest.approx(1 - 1 / 2**0.5)
    assert agreement(np.array([[2.0], [2.0]], dtype=np.float32), teacher) == pytest.approx(0.0)
    assert agreement(np.array([[90.0], [2.0]], dtype=np.float32), teacher) == 0.0
    constant = np.ones((2, 1), dtype=np.float32)
    assert agreement(constant, constant) == 1.0
    assert agreement(constant + 1, constant) == 0.0


def test_a_teacher_that_is_no_module() -> None:
    with pytest.raises(UserError, match=r"The teacher is a OrderedDict, not a torch\.nn\.Module"):
        make_task("t", _linear().state_dict(), _data(None))  # type: ignore[arg-type]


def test_a_teacher_that_cannot_be_copied() -> None:
    teacher = _linear()
    teacher.last = teacher(X)
    with pytest.raises(UserError, match="The teacher cannot be copied"):
        make_task("t", teacher, _data(None))


def test_inputs_that_do_not_fit_name_the_layer_and_the_shapes() -> None:
    teacher = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3))
    with pytest.raises(UserError) as caught:
        first_outputs(teacher, (torch.zeros(1, 1, 8, 8),))
    assert "1 input(s) of shape (1, 1, 8, 8) float32" in caught.value.problem
    assert "expected input[1, 1, 8, 8] to have 3 channels" in caught.value.problem
    assert "`1`, Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1)), which got (1, 1, 8, 8)" in caught.value.problem
    assert not teacher[1]._forward_pre_hooks


def test_a_wrong_number_of_inputs() -> None:
    with pytest.raises(UserError, match=r"2 input\(s\) of shape \(1, 3\) float32, \(1, 3\) float32: .*positional"):
        first_outputs(_linear(), (X[:1], X[:1]))
