"""Distillation from the teacher's outputs; a student never ends worse than it began."""

import copy
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.answers import Answers
from nas.data import Split
from nas.descent import Descent
from nas.files import write_atomic
from nas.teacher import Task
from search_spaces.arrange import arranged, channels_last, has_bfloat16
from search_spaces.repair import reestimate_batch_norm

TEMPERATURE = 4.0
LABEL_WEIGHT = 0.1
N_BATCH = 64
WARM_UP = 0.05
N_CHECKS = 4
SLACK = 0.01
"""Share of the metric that a check set cannot tell from nothing; the distance to the teacher is far less noisy."""
CHECK_FROM = 0.6
"""Share of a training before which its weights are not looked at: the rate is still too high for them to be good."""
CHECK_SHARE = 0.08
"""Of the time, at most, goes into looking."""
CHECKPOINT_S = 15.0
N_BATCH_NORM = 512
"""Training inputs that batch-norm statistics are taken from at the end."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What students are trained on.

    Attributes:
        task: loss and metric.
        train: inputs and labels.
        answers: the teacher's outputs on `train`.
        check: part of the validation set, for choosing the best weights.
        check_reference: what the metric compares with on `check`.
        check_answers: (n, ...) the teacher's outputs on `check`.
    """

    task: Task
    train: Split
    answers: Answers
    check: Split
    check_reference: Tensor
    check_answers: Tensor


@dataclass(frozen=True)
class Training:
    """What one distillation did.

    Attributes:
        n_steps: optimiser steps taken.
        spent_s: seconds used.
        before, after: metric on the check set at the start and of the weights kept.
    """

    n_steps: int
    spent_s: float
    before: float
    after: float


def distillation_loss(task: Task, outputs: Tensor, wanted: Tensor, labels: Tensor | None) -> Tensor:
    """Kullback-Leibler divergence at a temperature for classifiers (Hinton et al. 2015), mean squared error otherwise.

    Args:
        task: its loss on the labels is added with a small weight, where there are labels.
        outputs, wanted: (n, ...) the student's and the teacher's.
        labels: (n, ...) or None.
    """
    if is_classifier(task, outputs):
        student = functional.log_softmax(outputs / TEMPERATURE, 1)
        teacher = functional.log_softmax(wanted / TEMPERATURE, 1)
        divergence = functional.kl_div(student, teacher, log_target=True, reduction="none").sum(1).mean()
        loss = divergence * TEMPERATURE**2
    else:
        loss = functional.mse_loss(outputs, wanted) / (wanted.var() + 1e-8)
    if labels is None:
        return loss
    return (1 - LABEL_WEIGHT) * loss + LABEL_WEIGHT * task.loss(outputs, labels)


def is_classifier(task: Task, outputs: Tensor) -> bool:
    """Whether outputs are logits of two or more classes: the task has classes, or no labels and outputs of two axes."""
    if outputs.ndim < 2 or outputs.shape[1] < 2:
        return False
    return task.n_classes is not None or (task.data.train.labels is None and outputs.ndim == 2)


def learning_rate(share_left: float) -> float:
    """The peak rate for a student with this share of the teacher's parameters: the less is left, the higher.

    Args:
        share_left: (0, 1].
    """
    return 0.02 + 0.05 * (1 - min(max(share_left, 0.0), 1.0))


def distill(
    student: nn.Module,
    lesson: Lesson,
    seconds: float,
    peak_rate: float,
    generator: torch.Generator,
    elapsed_s: Callable[[], float],
    report: Callable[[], None] = lambda: None,
    checkpoint: Path | None = None,
) -> Training:
    """Trains in place with `Descent` on a cosine schedule driven by time, and keeps the best weights seen on the check
    set: those nearest to the teacher, unless the metric says that they are worse than before.

    A rate that makes the loss explode is divided by four and the weights start again from the best seen.

    Args:
        student: left in eval mode with the best weights, which may be those it came with.
        lesson: data and teacher outputs.
        seconds: to spend, checks included; nothing is trained where none are left.
        peak_rate: of the schedule.
        generator: order of the samples.
        elapsed_s: the run's clock.
        report: called now and then.
        checkpoint: file in which an unfinished training saves itself, and from which it goes on.
    """
    start_s, seconds = elapsed_s(), max(seconds, 1e-6)
    arranged(student, torch.channels_last).requires_grad_(True)
    optimizer = Descent(student)
    seen = _check(student, lesson)
    check_s = elapsed_s() - start_s
    state = _State(seen.score, seen.score, seen.loss, copy.deepcopy(student.state_dict()))
    if checkpoint is not None and checkpoint.exists():
        state = _resume(checkpoint, student, optimizer)
    earlier_s = state.spent_s
    n_checks = max(1, min(N_CHECKS, int(CHECK_SHARE * seconds / max(check_s, 1e-3))))
    looks = [CHECK_FROM + (1 - CHECK_FROM) * index / n_checks for index in range(1, n_checks)]
    looks = [share for share in looks if share > earlier_s / seconds]
    saved_s = elapsed_s()
    order, position = torch.randperm(len(lesson.train), generator=generator), 0
    student.train()
    while (progress := (earlier_s + elapsed_s() - start_s + check_s) / seconds) < 1:
        if position + N_BATCH > len(order) and position > 0:
            order, position = torch.randperm(len(lesson.train), generator=generator), 0
        chosen, position = order[position : position + N_BATCH], position + N_BATCH
        loss = _step(student, lesson, chosen, optimizer, state.scale * peak_rate * schedule(progress))
        state.n_steps += 1
        state.first_loss = state.first_loss if math.isfinite(state.first_loss) else loss
        if not math.isfinite(loss) or loss > 10 * state.first_loss + 1:
            student.load_state_dict(state.best)
            optimizer, state.scale = Descent(student), state.scale / 4
        if state.n_steps % 16 == 0:
            report()
        if looks and progress >= looks[0]:
            _keep_better(student, lesson, state)
            looks.pop(0)
        if checkpoint is not None and elapsed_s() - saved_s > CHECKPOINT_S:
            state.spent_s, saved_s = earlier_s + elapsed_s() - start_s, elapsed_s()
            _save(checkpoint, student, optimizer, state)
    _keep_better(student, lesson, state)
    student.load_state_dict(state.best)
    if state.n_steps:
        # Running averages of a short training lag behind its weights (Wu and Johnson 2021, section 3).
        reestimate_batch_norm(student, lesson.train.take(order[:N_BATCH_NORM]).inputs)
        _keep_better(student, lesson, state)
        student.load_state_dict(state.best)
    arranged(student, torch.contiguous_format).requires_grad_(False).eval()
    return Training(state.n_steps, earlier_s + elapsed_s() - start_s, state.before, state.best_score)


@dataclass(eq=False)
class _State:
    """What a training remembers beside weights and momenta."""

    before: float
    best_score: float
    best_loss: float
    best: dict[str, Tensor]
    n_steps: int = 0
    spent_s: float = 0.0
    first_loss: float = math.nan
    scale: float = 1.0


def _save(path: Path, student: nn.Module, optimizer: Descent, state: _State) -> None:
    buffer = io.BytesIO()
    torch.save({"student": student.state_dict(), "optimizer": optimizer.state_dict(), "state": vars(state)}, buffer)
    write_atomic(path, buffer.getvalue())


def _resume(path: Path, student: nn.Module, optimizer: Descent) -> _State:
    saved = torch.load(path, weights_only=True)
    student.load_state_dict(saved["student"])
    optimizer.load_state_dict(saved["optimizer"])
    return _State(**saved["state"])


def schedule(progress: float) -> float:
    """Share of the peak rate at a share of the time: a short linear warm-up, then half a cosine."""
    if progress < WARM_UP:
        return 0.05 + 0.95 * progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - WARM_UP) / (1 - WARM_UP)))) + 1e-3


def _step(student: nn.Module, lesson: Lesson, chosen: Tensor, optimizer: Descent, rate: float) -> float:
    batch = lesson.train.take(chosen)
    inputs = channels_last(batch.inputs)
    wanted = lesson.answers.on(chosen)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_bfloat16()):
        outputs = student(*inputs)
    loss = distillation_loss(lesson.task, outputs.float(), wanted, batch.labels)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step(rate)
    return float(loss.detach())


@dataclass(frozen=True)
class _Seen:
    """A student on the check set: the metric, and how far its outputs lie from the teacher's."""

    score: float
    loss: float


def _keep_better(student: nn.Module, lesson: Lesson, state: _State) -> None:
    seen = _check(student, lesson)
    student.train()
    if seen.loss < state.best_loss and seen.score >= state.before - SLACK * abs(state.before):
        state.best_score, state.best_loss, state.best = seen.score, seen.loss, copy.deepcopy(student.state_dict())


@torch.no_grad()
def _check(student: nn.Module, lesson: Lesson) -> _Seen:
    student.eval()
    split = lesson.check
    batches = [channels_last(tuple(t[i : i + 128] for t in split.inputs)) for i in range(0, len(split), 128)]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_bfloat16()):
        outputs = torch.cat([student(*batch).float() for batch in batches])
    if not bool(torch.isfinite(outputs).all()):
        return _Seen(-math.inf, math.inf)
    value = float(lesson.task.metric(outputs.numpy(), lesson.check_reference.numpy()))
    loss = float(distillation_loss(lesson.task, outputs, lesson.check_answers, None))
    return _Seen(value if math.isfinite(value) else -math.inf, loss if math.isfinite(loss) else math.inf)
