"""Trains the teacher (some twenty seconds on one core): python examples/depthwise_concat/train.py"""

from pathlib import Path

import torch
from data import make_data
from safetensors.torch import save_file
from teacher import build
from torch import nn
from torch.nn import functional

N_EPOCHS = 20


@torch.no_grad()
def accuracy(model: nn.Module, loader: torch.utils.data.DataLoader[tuple[torch.Tensor, ...]]) -> float:
    """Share of images whose class is right."""
    hits = torch.cat([model(images).argmax(1) == labels for images, labels in loader])
    return float(hits.float().mean())


def main() -> None:
    """Trains, writes `teacher.safetensors` beside this file and prints the accuracies."""
    torch.manual_seed(0)
    model, loaders = build(), make_data()
    n_steps = N_EPOCHS * len(loaders["train"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=n_steps)
    for _ in range(N_EPOCHS):
        for images, labels in loaders["train"]:
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels, label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    save_file(model.state_dict(), Path(__file__).with_name("teacher.safetensors"))
    print(f"validation_accuracy={accuracy(model, loaders['calibration']):.4f}")
    print(f"test_accuracy={accuracy(model, loaders['test']):.4f}")


if __name__ == "__main__":
    main()
