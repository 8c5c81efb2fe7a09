"""What is looked at before any work: each finding is a message that says what to do."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.data import Data, Split
from nas.errors import UserError
from nas.preflight_trace import Trace, check_trace, differ
from nas.teacher import RUN_ERRORS, Task, first_outputs, run_batched, top1_accuracy
from nas.trace import onnx_bytes

N_PARITY = 16
"""Real samples on which the traced graph must equal the teacher."""
N_ALONE = 4
"""Real samples whose outputs must be the same twice, and alone as together."""
N_CHANCE = 64
"""Validation samples that the teacher is held against chance on."""


def check(task: Task, trace: Trace = onnx_bytes) -> tuple[str, ...]:
    """Refuses a task that a search would stumble over; takes seconds for small teachers.

    Args:
        task: teacher, data, loss and metric.
        trace: how the product turns a module into ONNX.

    Returns:
        Notes, one sentence or two each, on what is allowed but looks wrong.

    Raises:
        UserError: exit status 2, what is wrong and what to do.
    """
    _check_module(task.teacher)
    _check_sets(task.data)
    uses_classes = task.loss is functional.cross_entropy or task.metric is top1_accuracy
    if task.data.train.labels is not None and uses_classes:
        _check_label_types(task.data)
    _check_outputs(task)
    if task.data.train.labels is not None and uses_classes:
        _check_classes(task)
    _check_loss(task)
    _check_same_alone(task)
    outputs = run_batched(task.teacher, task.data.validation.first(N_CHANCE))
    check_trace(task, trace, outputs[:N_PARITY])
    return tuple(_notes(task, outputs))


def _named_sets(data: Data) -> tuple[tuple[str, Split], ...]:
    return (("train", data.train), ("validation", data.validation), ("test", data.test))


def _check_module(teacher: nn.Module) -> None:
    if not isinstance(teacher, nn.Module):
        raise UserError(
            f"The teacher is a {type(teacher).__name__}, not a torch.nn.Module.",
            "Give the network itself, not its weights.",
        )
    broken = [
        name
        for name, tensor in (*teacher.named_parameters(), *teacher.named_buffers())
        if tensor.is_floating_point() and not _all_finite(tensor)
    ]
    if broken:
        raise UserError(
            f"The teacher has NaN or infinite weights in {_some(broken)}.",
            "Use a checkpoint from before its training diverged.",
        )
    training = [name or "the teacher itself" for name, module in teacher.named_modules() if module.training]
    if training:
        raise UserError(
            f"The teacher is in training mode: {_some(training)}.",
            "Call teacher.eval(), and override train() nowhere in a way that undoes it.",
        )
    _check_tied(teacher)


def _check_tied(teacher: nn.Module) -> None:
    names_by_storage: dict[int, list[str]] = {}
    for name, parameter in teacher.named_parameters(remove_duplicate=False):
        if parameter.numel():
            names_by_storage.setdefault(parameter.data_ptr(), []).append(name)
    tied = [" = ".join(names) for names in names_by_storage.values() if len(names) > 1]
    if tied:
        raise UserError(
            f"The teacher has tied weights: {_some(tied)}. Cutting one would cut the other.",
            "Untie them before the search: give one of the two modules its own copy, "
            "e.g. `head.weight = nn.Parameter(embedding.weight.detach().clone())`.",
        )


def _check_sets(data: Data) -> None:
    for name, split in _named_sets(data):
        if not split.inputs or len(split) == 0:
            raise UserError(f"The {name} set is empty.", "Give at least a few hundred samples in each set.")
        if _sample_shapes(split) != _sample_shapes(data.train):
            raise UserError(
                f"Samples of the {name} set have shapes {_sample_shapes(split)}, "
                f"those of the train set {_sample_shapes(data.train)}.",
                "Give all sets the same inputs.",
            )
        for index, tensor in enumerate(split.inputs):
            if tensor.is_floating_point() and not _all_finite(tensor):
                where = int((~torch.isfinite(tensor.flatten(1)).all(1)).nonzero()[0]) if tensor.ndim > 1 else 0
                raise UserError(
                    f"Input {index} of the {name} set holds NaN or infinite values, first in sample {where}.",
                    "Drop or fill such samples in make_data().",
                )
        if (split.labels is None) != (data.train.labels is None):
            has, lacks = ("train", name) if split.labels is None else (name, "train")
            raise UserError(
                f"The {has} set has labels, the {lacks} set has none.",
                "Give labels in all three sets, or in none to score by agreement with the teacher.",
            )


def _all_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinite: neither vanishes in a sum, which is read many times as fast."""
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def _sample_shapes(split: Split) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(tensor.shape[1:]) for tensor in split.inputs)


def _check_label_types(data: Data) -> None:
    for name, split in _named_sets(data):
        labels = split.labels
        if labels is None:
            continue
        if labels.is_floating_point():
            raise UserError(
                f"Labels of the {name} set are {str(labels.dtype).removeprefix('torch.')} of shape "
                f"{tuple(labels.shape)}; classes are whole numbers of shape (n,).",
                "For one-hot labels give labels.argmax(1); for anything but classes define `loss` and `metric`.",
            )
        if int(labels.min()) < 0:
            raise UserError(
                f"Labels of the {name} set are negative (down to {int(labels.min())}); classes are counted from 0.",
                "Drop the samples without a class, or count the classes from 0.",
            )
        if int(labels.min()) == int(labels.max()):
            raise UserError(
                f"All labels of the {name} set are {int(labels.min())}: there is only one class.",
                "Shuffle before splitting, so that every set has all classes.",
            )


def _check_outputs(task: Task) -> None:
    for samples in (task.data.train.first(1), task.data.validation.first(2)):
        outputs = first_outputs(task.teacher, samples.inputs)
        if not bool(torch.isfinite(outputs).all()):
            raise UserError(
                "The teacher's outputs hold NaN or infinite values on real samples.",
                "Check that the inputs are normalised as in its training, and that its weights are whole.",
            )


def _check_classes(task: Task) -> None:
    shape = first_outputs(task.teacher, task.data.example).shape
    for name, split in _named_sets(task.data):
        labels = split.labels
        if labels is None:
            continue
        expected = (len(labels), *shape[2:])
        if len(shape) < 2 or shape[1] < 2 or tuple(labels.shape) != expected:
            raise UserError(
                f"The teacher's outputs, {tuple(shape)} for one sample, do not match the classes: labels of the {name} "
                f"set have shape {tuple(labels.shape)}.",
                "Outputs are (n, classes) with labels (n,), or (n, classes, ...) with labels (n, ...). Let the teacher "
                "return one logit for each class, or define `loss` and `metric`.",
            )
        low, high = int(labels.min()), int(labels.max())
        if high < shape[1]:
            continue
        if low == 1 and high == shape[1]:
            raise UserError(
                f"Labels of the {name} set are out of range: 1 to {high} for {shape[1]} classes.",
                "Count the classes from 0: subtract 1 in make_data().",
            )
        raise UserError(
            f"Labels of the {name} set are out of range: they go up to {high}, and the teacher's outputs "
            f"match {shape[1]} classes.",
            "Give the labels that this teacher was trained on, or the teacher of these labels.",
        )


@torch.no_grad()
def _check_loss(task: Task) -> None:
    samples = task.data.train.first(N_PARITY)
    if samples.labels is None:
        return
    remedy = "Check `loss`: it takes outputs and labels as tensors and returns one finite number as a tensor."
    try:
        value = task.loss(run_batched(task.teacher, samples), samples.labels)
        finite = bool(torch.isfinite(value)) and value.ndim == 0
    except RUN_ERRORS as error:
        raise UserError(
            f"The loss cannot be computed for the teacher's outputs and the labels: {error}.",
            remedy,
        ) from error
    if not finite:
        raise UserError(
            f"The loss of the teacher is {value}, not one finite number.",
            remedy,
        )


def _check_same_alone(task: Task) -> None:
    samples = task.data.validation.first(N_ALONE)
    together = run_batched(task.teacher, samples)
    if differ(together, run_batched(task.teacher, samples)):
        raise UserError(
            "The teacher gives different outputs for the same inputs: something in it draws at random.",
            "Switch it off in evaluation mode, e.g. F.dropout(x, training=self.training).",
        )
    alone = run_batched(task.teacher, samples, n_batch=1)
    if differ(together, alone):
        raise UserError(
            "The teacher's output for a sample changes with the other samples of its batch.",
            "Use statistics that are fixed in evaluation mode, e.g. batch norm with track_running_stats=True.",
        )


def _notes(task: Task, outputs: Tensor) -> Iterator[str]:
    """What looks wrong.

    Args:
        task: teacher and data.
        outputs: the teacher's, on the first validation samples.
    """
    labels = task.data.train.labels
    if labels is None or task.metric is not top1_accuracy or task.n_classes is None:
        return
    n_seen = int(labels.flatten().bincount().count_nonzero())
    if n_seen < task.n_classes:
        yield f"The labels use {n_seen} of the teacher's {task.n_classes} classes."
    validation = task.data.validation.first(len(outputs))
    if validation.labels is None:
        return
    accuracy = top1_accuracy(outputs.numpy(), validation.labels.numpy())
    chance = float(validation.labels.flatten().bincount().max()) / validation.labels.numel()
    # Two standard deviations of a guess, so that an untrained teacher that is lucky is named as well.
    if accuracy <= chance + 2 * (chance * (1 - chance) / len(validation)) ** 0.5:
        yield (
            f"The teacher is no better than chance on validation data ({accuracy:.1%}, the most common class alone "
            f"{chance:.1%}). Check that its weights are loaded and the inputs normalised as in its training."
        )


def _some(names: list[str], n_shown: int = 5) -> str:
    return ", ".join(names[:n_shown]) + (f" and {len(names) - n_shown} more" if len(names) > n_shown else "")
