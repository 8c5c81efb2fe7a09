"""The teacher with its data, loss and metric: a task."""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nas.data import Data, Loss, Metric, Split
from nas.errors import UserError

RUN_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a forward pass raises for inputs that it was not made for."""


@dataclass(frozen=True)
class Task:
    """What a search starts from.

    Attributes:
        name: as on the command line and in tables.
        teacher: in evaluation mode, frozen, on the CPU, float32.
        data: the three sets.
        loss: (outputs, labels) to a scalar; never called where the task has no labels.
        metric: (outputs, labels) to a number, **higher is better**. In a task without labels its second argument is
            the teacher's outputs on the same samples; see `references`.
        n_classes: width of the outputs of a classifier with labels of whole numbers, otherwise None.
        weights_digest: SHA-256 of the teacher's state dict, 64 hexadecimal digits.
    """

    name: str
    teacher: nn.Module
    data: Data
    loss: Loss
    metric: Metric
    n_classes: int | None
    weights_digest: str


def make_task(
    name: str, teacher: nn.Module, data: Data, loss: Loss | None = None, metric: Metric | None = None
) -> Task:
    """The task of a trained network. The network itself is left as it is: the task holds a copy.

    Args:
        name: as on the command line and in tables.
        teacher: the trained network.
        data: the three sets.
        loss: cross entropy by default.
        metric: higher is better. By default top-1 accuracy, without labels the agreement with the teacher.

    Raises:
        UserError: the teacher is no module, cannot be copied, or cannot be run on a sample of the data.
    """
    frozen = freeze(teacher)
    labels = data.train.labels
    n_classes: int | None = None
    if labels is not None and not labels.is_floating_point():
        outputs = first_outputs(frozen, data.example)
        n_classes = outputs.shape[1] if outputs.ndim > 1 else None
    default_metric: Metric = agreement if labels is None else top1_accuracy
    return Task(
        name=name,
        teacher=frozen,
        data=data,
        loss=loss or functional.cross_entropy,
        metric=metric or default_metric,
        n_classes=n_classes,
        weights_digest=weights_digest(frozen),
    )


def freeze(teacher: nn.Module) -> nn.Module:
    """A copy of the network in evaluation mode, without gradients, on the CPU, in float32.

    Raises:
        UserError: it is no module or cannot be copied.
    """
    if not isinstance(teacher, nn.Module):
        raise UserError(
            f"The teacher is a {type(teacher).__name__}, not a torch.nn.Module.",
            "Give the network itself, e.g. let build() return the model and not its weights.",
        )
    try:
        clone = copy.deepcopy(teacher)
    except (RuntimeError, TypeError) as error:
        raise UserError(
            f"The teacher cannot be copied ({_first_line(error)}).",
            "Store nothing but parameters, buffers and plain values on the module; "
            "results of a forward pass kept as attributes are the usual cause.",
        ) from error
    return clone.cpu().float().eval().requires_grad_(False)


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, types, shapes and bytes of the state dict; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            array = value.detach().cpu().contiguous()
            digest.update(f"{name}|{array.dtype}|{tuple(array.shape)}|".encode())
            digest.update(array.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def top1_accuracy(outputs: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Share of labels (n, ...) that are the argmax of outputs (n, n_classes, ...) along axis 1."""
    return float(np.mean(outputs.argmax(1) == labels))


def agreement(outputs: NDArray[np.float32], reference: NDArray[Any]) -> float:
    """How far outputs agree with the teacher's on the same samples; both (n, ...).

    Outputs of two axes and at least two columns are taken for a classifier's: the share of samples with the same
    argmax. Any other outputs are taken for values: 1 - ||outputs - reference|| / ||reference - mean(reference)||, the
    mean over samples, Frobenius norms over everything, and 0 where that is negative. So 1 is the teacher itself, and
    0 no better than the mean of the teacher's outputs. (A network that embeds in a vector needs a metric of its own.)
    """
    if outputs.ndim == 2 and outputs.shape[1] >= 2:
        return float(np.mean(outputs.argmax(1) == reference.argmax(1)))
    error = float(np.linalg.norm((outputs - reference).astype(np.float64)))
    spread = float(np.linalg.norm((reference - reference.mean(0)).astype(np.float64)))
    if spread == 0.0:
        return 1.0 if error == 0.0 else 0.0
    return max(0.0, 1.0 - error / spread)


def references(task: Task, split: Split) -> NDArray[Any]:
    """What `task.metric` compares outputs on this split with: its labels, or the teacher's outputs without labels.

    Without labels this is a pass of the teacher over the split: keep the result.
    """
    if split.labels is not None:
        labels: NDArray[Any] = split.labels.numpy()
        return labels
    return run_batched(task.teacher, split).numpy()


@torch.no_grad()
def run_batched(module: nn.Module, split: Split, n_batch: int = 256) -> Tensor:
    """Outputs (n, ...) of a module in evaluation mode on all samples of a split."""
    n = len(split)
    batches = [tuple(tensor[start : start + n_batch] for tensor in split.inputs) for start in range(0, n, n_batch)]
    return torch.cat([module(*batch) for batch in batches])


@torch.no_grad()
def first_outputs(teacher: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Outputs of the teacher on a few samples, batch axis first.

    Raises:
        UserError: the inputs do not fit, or the output is not one tensor that keeps the batch axis.
    """
    entered: list[tuple[str, nn.Module, Sequence[object]]] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, args, name=name: entered.append((name, module, args)))
        for name, module in teacher.named_modules()
        if name and not any(True for _ in module.children())
    ]
    shapes = ", ".join(f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in inputs)
    try:
        outputs = teacher(*inputs)
    except RUN_ERRORS as error:
        where = ""
        if entered:
            name, module, arguments = entered[-1]
            got = ", ".join(str(tuple(a.shape)) for a in arguments if isinstance(a, Tensor))
            where = f" The last layer it entered is `{name}`, {str(module).splitlines()[0]}, which got {got}."
        raise UserError(
            f"The teacher cannot be run on a sample of the data, {len(inputs)} input(s) of shape {shapes}: "
            f"{_first_line(error)}.{where}",
            "Make number, order, shapes and types of the inputs in make_data() those that forward() takes.",
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(outputs, Tensor):
        raise UserError(
            f"The teacher returns a {type(outputs).__name__}, not a tensor.",
            "Wrap it in a module whose forward() returns the one tensor that counts, e.g. the logits.",
        )
    n = len(inputs[0])
    if outputs.ndim == 0 or len(outputs) != n:
        raise UserError(
            f"The teacher's output has shape {tuple(outputs.shape)} for {n} sample(s): the batch axis is not kept.",
            "Return one row of outputs for each sample.",
        )
    return outputs


def metric_name(task: Task) -> str:
    """What the score is called in tables."""
    if task.metric is top1_accuracy:
        return "accuracy"
    return "agreement" if task.metric is agreement else "metric"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
