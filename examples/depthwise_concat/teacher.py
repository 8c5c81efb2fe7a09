"""A network with depthwise-separable convolutions, concatenations and one addition, for 8x8 digits."""

import torch
from torch import Tensor, nn


def conv_bn(n_in: int, n_out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm and ReLU; `groups=n_in` makes it depthwise."""
    convolution = nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU())


class Separable(nn.Module):
    """A depthwise 3x3 and a pointwise convolution, as in MobileNet (Howard et al. 2017)."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = conv_bn(n_in, n_in, 3, stride, groups=n_in)
        self.pointwise = conv_bn(n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


class Growing(nn.Module):
    """Its input with `n_more` new channels beside it, as in DenseNet (Huang et al. 2017)."""

    def __init__(self, n_in: int, n_more: int) -> None:
        super().__init__()
        self.new = conv_bn(n_in, n_more)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.new(x)], 1)


class Net(nn.Module):
    """Images (batch, 1, 8, 8) to logits (batch, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(1, 24)
        self.separable1 = Separable(24, 48)
        self.growing1 = Growing(48, 24)
        self.separable2 = Separable(72, 64, stride=2)
        self.growing2 = Growing(64, 32)
        self.separable3 = Separable(96, 96)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.growing1(self.separable1(self.stem(x)))
        x = self.growing2(self.separable2(x))
        x = x + self.separable3(x)
        logits: Tensor = self.fc(torch.flatten(self.pool(x), 1))
        return logits


def build() -> nn.Module:
    """The network, untrained."""
    return Net()
