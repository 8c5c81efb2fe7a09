"""A network with two inputs, joined by an addition and a concatenation, for 8x8 digits."""

import torch
from torch import Tensor, nn


class TwoInputs(nn.Module):
    """Images (batch, 1, 8, 8) and their sums by row and column (batch, 16) to logits (batch, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 48, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(48)
        self.conv3 = nn.Conv2d(48, 48, 3, 1, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(48)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.sums1 = nn.Linear(16, 64)
        self.sums2 = nn.Linear(64, 48)
        self.joint = nn.Linear(96, 64)
        self.fc = nn.Linear(64, 10)
        self.relu = nn.ReLU()

    def forward(self, image: Tensor, sums: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(image)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.relu(self.bn3(self.conv3(x)))
        seen = torch.flatten(self.pool(x), 1)
        summed = self.sums2(self.relu(self.sums1(sums)))
        both = torch.cat([self.relu(seen + summed), seen], 1)
        logits: Tensor = self.fc(self.relu(self.joint(both)))
        return logits


def build() -> nn.Module:
    """The network, untrained."""
    return TwoInputs()
