"""Trains the teacher (some ten seconds on one core): python examples/two_inputs/train.py"""

from pathlib import Path

import torch
from data import make_data
from safetensors.torch import save_file
from teacher import build
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

N_EPOCHS = 30


def main() -> None:
    """Trains, writes `teacher.safetensors` beside this file and prints the accuracies."""
    torch.manual_seed(0)
    model = build()
    train, validation, test = (TensorDataset(*map(torch.from_numpy, arrays)) for arrays in make_data())
    loader = DataLoader(train, batch_size=64, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=N_EPOCHS * len(loader))
    for _ in range(N_EPOCHS):
        for images, sums, labels in loader:
            optimizer.zero_grad()
            functional.cross_entropy(model(images, sums), labels, label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    save_file(model.state_dict(), Path(__file__).with_name("teacher.safetensors"))
    for name, dataset in (("validation", validation), ("test", test)):
        images, sums, labels = dataset.tensors
        with torch.no_grad():
            hits = model(images, sums).argmax(1) == labels
        print(f"{name}_accuracy={float(hits.float().mean()):.4f}")


if __name__ == "__main__":
    main()
