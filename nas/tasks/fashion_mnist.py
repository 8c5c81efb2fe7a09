"""The built-in task `fashion-mnist`: 70,000 real 28x28 photographs of clothes in ten classes (Xiao et al. 2017)."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn

from nas.data import Data, Split
from nas.errors import UserError
from nas.tasks.idx import read_idx
from nas.tasks.resnet import ResNet
from nas.teacher import Task, make_task

DEBIAN_DIR = Path("/usr/share/datasets/fashion-mnist")
MEAN, DEVIATION = 0.2860, 0.3530
N_VALIDATION = 5000
WEIGHTS = "fashion_mnist.safetensors"


def teacher_module() -> nn.Module:
    """A ResNet-14 of CIFAR style, widths 32/64/128, untrained."""
    return ResNet((32, 64, 128), (2, 2, 2))


def _images(path: Path) -> Tensor:
    pixels = read_idx(path).astype(np.float32)[:, None] / 255
    return torch.from_numpy((pixels - MEAN) / DEVIATION)


def _find(directory: Path, stem: str) -> Path:
    for name in (f"{stem}.gz", stem):
        if (directory / name).is_file():
            return directory / name
    raise UserError(
        f"Fashion-MNIST is not in {directory}: {stem}[.gz] is missing.",
        "Install it with `apt-get install dataset-fashion-mnist`, or name the folder that holds the four IDX files "
        "with --data-dir.",
    )


def load_arrays(data_dir: Path | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Returns training, validation and test images (n, 1, 28, 28) and labels (n,), in that order.

    The validation set is the last 5,000 images of the published training set.

    Raises:
        UserError: a file is missing or not IDX.
    """
    directory = data_dir or DEBIAN_DIR
    images = _images(_find(directory, "train-images-idx3-ubyte"))
    labels = torch.from_numpy(read_idx(_find(directory, "train-labels-idx1-ubyte")).astype(np.int64))
    test_images = _images(_find(directory, "t10k-images-idx3-ubyte"))
    test_labels = torch.from_numpy(read_idx(_find(directory, "t10k-labels-idx1-ubyte")).astype(np.int64))
    n = len(images) - N_VALIDATION
    return images[:n], labels[:n], images[n:], labels[n:], test_images, test_labels


def task(data_dir: Path | None = None) -> Task:
    """The packaged teacher (`benchmarks/train_fashion_mnist_teacher.py` trained it) with its data.

    Args:
        data_dir: folder with the four IDX files, gzipped or not; Debian's by default.

    Raises:
        UserError: the images or the packaged weights are missing.
    """
    train_x, train_y, validation_x, validation_y, test_x, test_y = load_arrays(data_dir)
    packaged = files("nas.tasks") / WEIGHTS
    if not packaged.is_file():
        raise UserError(
            f"The teacher's weights {WEIGHTS} are missing from the installed package.",
            "Install it again, or train them with benchmarks/train_fashion_mnist_teacher.py.",
        )
    teacher = teacher_module()
    teacher.load_state_dict(load(packaged.read_bytes()))
    data = Data(
        Split((train_x,), train_y),
        Split((validation_x,), validation_y),
        Split((test_x,), test_y),
    )
    return make_task("fashion-mnist", teacher, data)
