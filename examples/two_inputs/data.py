"""The digits as numpy arrays with two inputs: the image, and its sums by row and column."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Sets = tuple[tuple[NDArray[Any], NDArray[Any], NDArray[Any]], ...]


def make_data() -> Sets:
    """Training, validation and test set (1,100, 300 and 397 digits), each (images, sums, labels)."""
    digits = load_digits()
    images = (digits.images[:, None] / 8 - 1).astype(np.float32)
    sums = np.concatenate([images.sum(3), images.sum(2)], 2)[:, 0] / 8
    order = np.random.default_rng(0).permutation(len(images))
    parts = np.split(order, [1100, 1400])
    return tuple((images[part], sums[part], digits.target[part]) for part in parts)
