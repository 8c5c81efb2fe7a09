"""The CIFAR-style residual network that the built-in teachers are made of."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016, fig. 2; projection where shapes differ)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.relu1(self.bn1(self.conv1(x)))
        y: Tensor = self.relu2(self.bn2(self.conv2(inner)) + self.shortcut(x))
        return y


class ResNet(nn.Module):
    """Stem, stages of `BasicBlock`s (the first block of every later stage halves the image), mean, linear.

    Args:
        widths: channels of each stage.
        n_blocks: blocks in each stage; three stages of n blocks make the 6n+2 layers of the paper, section 4.2.
        n_in: channels of the input image, shape (batch, n_in, height, width).
        n_classes: width of the output, shape (batch, n_classes).
    """

    def __init__(self, widths: Sequence[int], n_blocks: Sequence[int], n_in: int = 1, n_classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, widths[0], 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        blocks: list[nn.Module] = []
        n_channels = widths[0]
        for stage, (width, n) in enumerate(zip(widths, n_blocks, strict=True)):
            for index in range(n):
                blocks.append(BasicBlock(n_channels, width, 2 if stage > 0 and index == 0 else 1))
                n_channels = width
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(n_channels, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.conv(x)))
        logits: Tensor = self.fc(torch.flatten(self.pool(self.blocks(x)), 1))
        return logits
