"""A task that is searched in seconds: a small residual network on a part of scikit-learn's digits.

The command line reads this very file: `tests/nas/tiny.py:build`, `tests/nas/tiny.py:make_data`.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

Sets = tuple[tuple[Tensor, Tensor], ...]


class Residual(nn.Module):
    """x + conv(relu(conv(x))), with batch norms."""

    def __init__(self, width: int, n_inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, n_inner, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_inner)
        self.conv2 = nn.Conv2d(n_inner, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class Tiny(nn.Module):
    """Images (batch, 1, 8, 8) to logits (batch, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.block1 = Residual(16, 32)
        self.down = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.block2 = Residual(32, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block1(torch.relu(self.stem(x)))
        x = self.block2(torch.relu(self.down(x)))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def build() -> nn.Module:
    """The network, untrained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Tiny()


def make_data() -> Sets:
    """600, 200 and 200 digits for training, validation and test."""
    digits = load_digits()
    images = torch.from_numpy(digits.images[:, None]).float() / 8 - 1
    labels = torch.from_numpy(digits.target).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return tuple((images[part], labels[part]) for part in (order[:600], order[600:800], order[800:1000]))


def trained() -> nn.Module:
    """The network after some two seconds of training, in eval mode."""
    (images, labels), _, _ = make_data()
    module, generator = build().train(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(8):
        for chosen in torch.randperm(len(images), generator=generator).split(50):
            loss = functional.cross_entropy(module(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return module.eval()
