"""The digits as DataLoaders, the form that a training script usually has them in."""

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


def make_data() -> dict[str, DataLoader[tuple[torch.Tensor, ...]]]:
    """Loaders of (images (batch, 1, 8, 8), labels (batch,)): 1,100 to train, 300 to calibrate, 397 to test."""
    digits = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 8 - 1
    dataset = TensorDataset(images, torch.from_numpy(digits.target))
    parts = random_split(dataset, [1100, 300, 397], generator=torch.Generator().manual_seed(0))
    return {
        name: DataLoader(part, batch_size=64, shuffle=name == "train")
        for name, part in zip(("train", "calibration", "test"), parts, strict=True)
    }
