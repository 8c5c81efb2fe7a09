"""The built-in task `digits`: scikit-learn's 1,797 real 8x8 digits and a small ResNet, trained on first use."""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

from nas.data import Data, Split
from nas.errors import UserError
from nas.tasks.resnet import ResNet
from nas.teacher import Task, make_task

N_VALIDATION, N_TEST = 300, 397
SPLIT_SEED = 0
MEAN, DEVIATION = 0.305, 0.376
"""Of all pixels, scaled to 0..1."""


@dataclass(frozen=True)
class Settings:
    """Everything that the trained weights depend on; their digest names the cached file."""

    widths: tuple[int, ...] = (32, 64)
    n_blocks: tuple[int, ...] = (2, 2)
    n_epochs: int = 12
    n_batch: int = 64
    peak_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    max_shift: int = 1
    seed: int = 0
    version: int = 1  # raised when `train` itself changes

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of the settings as JSON."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]


def _silent(text: str, share: float) -> None:
    """Shows nothing."""


def load_splits() -> Data:
    """1,100 training, 300 validation and 397 test digits, stratified; images (n, 1, 8, 8) float32, labels (n,)."""
    digits = load_digits()
    images = ((digits.images[:, None] / 16 - MEAN) / DEVIATION).astype(np.float32)
    labels = digits.target.astype(np.int64)
    rest, test = train_test_split(np.arange(len(labels)), test_size=N_TEST, stratify=labels, random_state=SPLIT_SEED)
    train, validation = train_test_split(rest, test_size=N_VALIDATION, stratify=labels[rest], random_state=SPLIT_SEED)
    return Data(
        *(Split((torch.from_numpy(images[i]),), torch.from_numpy(labels[i])) for i in (train, validation, test))
    )


def task(progress: Callable[[str, float], None] = _silent, settings: Settings | None = None) -> Task:
    """The digits with their teacher, which is trained on first use (seconds) and then kept in the cache.

    Args:
        progress: told what is being done and the share done, from 0 to 1.
        settings: of the teacher and its training.

    Raises:
        UserError: the cache folder cannot be written.
    """
    settings = settings or Settings()
    data = load_splits()
    teacher: nn.Module = ResNet(settings.widths, settings.n_blocks)
    path = cache_dir() / f"digits-{settings.digest}.safetensors"
    if not _loads(teacher, path):
        teacher = train(data.train, settings, progress)
        _write(teacher, path)
    return make_task("digits", teacher, data)


def cache_dir() -> Path:
    """`understudy` in the user's cache folder: $XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy"


def train(split: Split, settings: Settings, progress: Callable[[str, float], None] = _silent) -> nn.Module:
    """A teacher trained on this split, the same for the same settings and machine. Returned in evaluation mode."""
    if split.labels is None:
        raise ValueError("training needs labels")
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.random.fork_rng(devices=[]):  # layers draw their first weights from torch's own generator
        torch.manual_seed(settings.seed)
        model = ResNet(settings.widths, settings.n_blocks).train()
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=settings.peak_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=True,
    )
    n_steps_epoch = len(split) // settings.n_batch
    n_steps = n_steps_epoch * settings.n_epochs
    for step in range(n_steps):
        if step % n_steps_epoch == 0:
            order = torch.randperm(len(split), generator=generator)
            progress("training the digits teacher, once", step / n_steps)
        start = step % n_steps_epoch * settings.n_batch
        batch = split.take(order[start : start + settings.n_batch])
        assert batch.labels is not None
        for group in optimizer.param_groups:
            group["lr"] = settings.peak_rate * _schedule(step / n_steps)
        logits = model(shifted(batch.inputs[0], settings.max_shift, generator))
        loss = functional.cross_entropy(logits, batch.labels, label_smoothing=settings.label_smoothing)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    progress("training the digits teacher, once", 1.0)
    return model.eval()


def _schedule(share: float) -> float:
    """Linear rise over the first tenth, then half a cosine to zero."""
    return share / 0.1 if share < 0.1 else 0.5 * (1 + math.cos(math.pi * (share - 0.1) / 0.9))


def shifted(images: Tensor, max_shift: int, generator: torch.Generator) -> Tensor:
    """Each image (batch, 1, height, width) moved by up to `max_shift` pixels each way, filled with background."""
    n, _, height, width = images.shape
    padded = functional.pad(images, (max_shift,) * 4, value=float(images.min()))
    rows = torch.randint(0, 2 * max_shift + 1, (n, 1), generator=generator) + torch.arange(height)
    columns = torch.randint(0, 2 * max_shift + 1, (n, 1), generator=generator) + torch.arange(width)
    return padded[torch.arange(n)[:, None, None], 0, rows[:, :, None], columns[:, None, :]][:, None]


def _loads(teacher: nn.Module, path: Path) -> bool:
    """Fills the teacher from the cache; False where the file is missing or damaged, and is to be made anew."""
    try:
        teacher.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):
        return False
    return True


def _write(teacher: nn.Module, path: Path) -> None:
    """Writes beside the file and renames, so that a reader never sees half a file."""
    content = save({name: value.contiguous() for name, value in teacher.state_dict().items()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            beside = Path(folder) / path.name
            beside.write_bytes(content)
            os.replace(beside, path)
    except OSError as error:
        raise UserError(
            f"The trained teacher cannot be kept in {path.parent} ({error.strerror}).",
            "Free space there, or name another folder in XDG_CACHE_HOME.",
        ) from error
