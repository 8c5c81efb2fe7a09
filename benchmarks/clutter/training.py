"""How the peers train: SGD on a cosine schedule driven by CPU time, on labels and the teacher's outputs."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.data import Split
from nas.teacher import Task

N_BATCH = 64
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
WARM_UP = 0.1
TEMPERATURE, LABEL_WEIGHT = 4.0, 0.1


@dataclass(frozen=True, eq=False)
class Material:
    """What a peer trains on.

    Attributes:
        images: (n, channels, height, width).
        labels: (n,).
        outputs: (n, n_classes), the teacher's logits.
    """

    images: Tensor
    labels: Tensor
    outputs: Tensor


def cached_material(task: Task, folder: Path) -> Material:
    """Training and validation images with the teacher's logits, which are kept in a file of this folder.

    The peers choose nothing on validation data, so they may train on it; and no peer is charged for the logits.
    """
    path = folder / f"{task.name}-logits-{task.weights_digest[:12]}.pt"
    images = torch.cat([split.inputs[0] for split in (task.data.train, task.data.validation)])
    labels = torch.cat([_labels(split) for split in (task.data.train, task.data.validation)])
    if not path.is_file():
        unfinished = path.with_suffix(".part")
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(teacher_logits(task.teacher, images).half(), unfinished)
        unfinished.replace(path)
    return Material(images, labels, torch.load(path, weights_only=True).float())


@torch.no_grad()
def teacher_logits(teacher: nn.Module, images: Tensor) -> Tensor:
    """(n, n_classes), batch by batch."""
    return torch.cat([teacher(batch) for batch in torch.split(images, 500)])


def train(module: nn.Module, on: Material, end_s: float, peak_rate: float, seed: int) -> float:
    """Trains in place until `time.process_time()` reaches `end_s`.

    In bfloat16 and channels-last, which make a step faster on processors that know bfloat16.

    Args:
        module: left in evaluation mode.
        on: images, labels and the teacher's logits.
        end_s: reading of the process clock.
        peak_rate: learning rate after the warm-up.
        seed: of the order of images.

    Returns:
        Epochs trained.
    """
    module.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        module.parameters(), lr=peak_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )
    start_s, n_seen = time.process_time(), 0
    for chosen in _batches(len(on.images), seed):
        share = (time.process_time() - start_s) / max(end_s - start_s, 1e-9)
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = peak_rate * schedule(share)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = module(on.images[chosen].contiguous(memory_format=torch.channels_last))
        loss = distillation_loss(outputs.float(), on.outputs[chosen], on.labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        n_seen += len(chosen)
    module.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return n_seen / len(on.images)


def schedule(share: float) -> float:
    """Share of the peak rate: from 5 % up over the first tenth, then half a cosine down to zero."""
    if share < WARM_UP:
        return 0.05 + 0.95 * share / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))


def distillation_loss(outputs: Tensor, wanted: Tensor, labels: Tensor) -> Tensor:
    """Divergence from the teacher at a temperature, and a tenth of cross entropy (Hinton et al. 2015)."""
    student = functional.log_softmax(outputs / TEMPERATURE, 1)
    teacher = functional.log_softmax(wanted / TEMPERATURE, 1)
    divergence = functional.kl_div(student, teacher, log_target=True, reduction="batchmean") * TEMPERATURE**2
    return (1 - LABEL_WEIGHT) * divergence + LABEL_WEIGHT * functional.cross_entropy(outputs, labels)


def _batches(n: int, seed: int) -> Iterator[Tensor]:
    """Indices of one batch after another, without end; every image once in each round."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(n, generator=generator)
        yield from torch.split(order[: n - n % N_BATCH], N_BATCH)


def _labels(split: Split) -> Tensor:
    assert split.labels is not None
    return split.labels
