"""Trains the teacher of the built-in task `fashion-mnist` and writes its weights as safetensors.

    python benchmarks/train_fashion_mnist_teacher.py --out nas/tasks/fashion_mnist.safetensors

Some 40 minutes on two cores with bfloat16. The last 5,000 training images are held out, as in the task itself, and
the test images are scored once, after the last epoch.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from nas.tasks.fashion_mnist import load_arrays, teacher_module


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flips, shifts by up to 2 pixels and blanks a 7x7 square, each image for itself; (batch, 1, 28, 28)."""
    n, _, height, width = images.shape
    flip = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
    images = torch.where(flip, images.flip(3), images)
    padded = functional.pad(images, (2, 2, 2, 2), value=float(images.min()))
    rows = torch.randint(0, 5, (n, 1), generator=generator) + torch.arange(height)
    columns = torch.randint(0, 5, (n, 1), generator=generator) + torch.arange(width)
    shifted = padded[torch.arange(n)[:, None, None], 0, rows[:, :, None], columns[:, None, :]]
    row = torch.randint(-3, height - 3, (n, 1, 1), generator=generator)
    column = torch.randint(-3, width - 3, (n, 1, 1), generator=generator)
    y, x = torch.arange(height)[None, :, None], torch.arange(width)[None, None, :]
    blank = (y >= row) & (y < row + 7) & (x >= column) & (x < column + 7)
    return shifted.masked_fill(blank, 0.0)[:, None]


@torch.no_grad()
def accuracy(model: torch.nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    hits = sum(
        int((model(images[i : i + 500]).argmax(1) == labels[i : i + 500]).sum()) for i in range(0, len(images), 500)
    )
    model.train()
    return hits / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    generator = torch.Generator().manual_seed(arguments.seed)
    train_x, train_y, val_x, val_y, test_x, test_y = load_arrays(arguments.data_dir)

    model = teacher_module().to(memory_format=torch.channels_last).train()
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995), use_buffers=True
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    n_batch = 128
    n_steps_epoch = len(train_x) // n_batch
    n_steps = n_steps_epoch * arguments.epochs
    step, start_s = 0, time.perf_counter()
    for epoch in range(arguments.epochs):
        order = torch.randperm(len(train_x), generator=generator)
        for index in range(n_steps_epoch):
            chosen = order[index * n_batch : (index + 1) * n_batch]
            progress = step / n_steps
            scale = progress / 0.15 if progress < 0.15 else 0.5 * (1 + math.cos(math.pi * (progress - 0.15) / 0.85))
            for group in optimizer.param_groups:
                group["lr"] = 0.15 * scale + 1e-5
            images = augment(train_x[chosen], generator).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(images)
            loss = functional.cross_entropy(logits.float(), train_y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            average.update_parameters(model)
            step += 1
            if step == 20:
                print(f"{(time.perf_counter() - start_s) / 20 * n_steps / 60:.0f} min expected", flush=True)
        print(
            f"epoch {epoch + 1} loss {loss.item():.3f} validation {accuracy(average.module, val_x, val_y):.4f} "
            f"after {time.perf_counter() - start_s:.0f} s",
            flush=True,
        )
        save_file({k: v.contiguous().clone() for k, v in average.module.state_dict().items()}, arguments.out)
    print(f"test_accuracy={accuracy(average.module, test_x, test_y):.4f}")
    print(f"n_parameters={sum(p.numel() for p in average.module.parameters())}")
    print(f"size_bytes={arguments.out.stat().st_size}")


if __name__ == "__main__":
    main()
