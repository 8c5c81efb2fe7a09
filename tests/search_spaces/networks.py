"""Tiny teachers of every shape that search spaces must cope with, and inputs for them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


class Residual(nn.Module):
    """A ResNet basic block, without biases."""

    def __init__(self, width: int, n_inner: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, n_inner, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_inner)
        self.conv2 = nn.Conv2d(n_inner, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class ResNet(nn.Module):
    """Stem, two residual blocks with a strided convolution between them, pooled head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.block1 = Residual(16, 24)
        self.down = nn.Conv2d(16, 32, 3, stride=2)
        self.stage = nn.Sequential(Residual(32, 16))
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block1(torch.relu(self.stem(x)))
        x = self.stage(torch.relu(self.down(x)))
        return self.head(x.mean((2, 3)))


class DenseNet(nn.Module):
    """Each layer sees all before it, concatenated; then a flatten and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 12, 3, padding=1)
        self.bn = nn.BatchNorm2d(20)
        self.c = nn.Conv2d(20, 16, 1)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(36 * 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.a(x))
        ab = self.bn(torch.cat([a, self.b(a)], 1))
        abc = torch.cat([ab, torch.relu(self.c(ab))], 1)
        return self.head(self.pool(abc).flatten(1))


class InvertedResidual(nn.Module):
    """A MobileNetV2 block: 1x1 up, depthwise, 1x1 down, linear shortcut."""

    def __init__(self, width: int, n_inner: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, n_inner, 1, bias=False),
            nn.BatchNorm2d(n_inner),
            nn.ReLU6(),
            nn.Conv2d(n_inner, n_inner, 3, padding=1, groups=n_inner, bias=False),
            nn.BatchNorm2d(n_inner),
            nn.ReLU6(),
            nn.Conv2d(n_inner, width, 1, bias=False),
            nn.BatchNorm2d(width, affine=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class MobileNet(nn.Module):
    """Stem, inverted residual, strided depthwise-separable convolution, head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.block = InvertedResidual(16, 32)
        self.depthwise = nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16)
        self.pointwise = nn.Conv2d(16, 24, 1)
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(torch.relu(self.stem(x)))
        return self.head(torch.relu(self.pointwise(self.depthwise(x))).mean((2, 3)))


class Grouped(nn.Module):
    """A grouped convolution between two plain ones."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Conv2d(2, 16, 3, padding=1)
        self.grouped = nn.Conv2d(16, 24, 3, padding=1, groups=4)
        self.after = nn.Conv2d(24, 16, 1, stride=2)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.grouped(torch.relu(self.before(x))))
        return self.head(torch.relu(self.after(x)).mean((2, 3)))


class Flattened(nn.Module):
    """Convolutions with PReLU, flattened into a two-layer perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.act1 = nn.PReLU(8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.act2 = nn.PReLU()
        self.fc1 = nn.Linear(16 * 4 * 4, 32)
        self.fc2 = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act2(self.conv2(self.act1(self.conv1(x))))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class TwoInputs(nn.Module):
    """An image and integer tokens, joined before the head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.embedding = nn.Embedding(11, 8)
        self.mix = nn.Linear(8, 16)
        self.fc = nn.Linear(32, 24)
        self.head = nn.Linear(24, 3)

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        left = torch.relu(self.conv(image)).mean((2, 3))
        right = torch.relu(self.mix(self.embedding(tokens))).mean(1)
        return self.head(torch.relu(self.fc(torch.cat([left, right], 1))))


class ChannelNorm(nn.Module):
    """LayerNorm mixes the channels of `a`; those of `b` are free."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 16)
        self.norm = nn.LayerNorm(16)
        self.b = nn.Linear(16, 24)
        self.head = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.b(self.norm(self.a(x)))))


class HardCodedView(nn.Module):
    """The number of channels is written into `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.head = nn.Linear(16 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(x)).view(-1, 16 * 16))


class Encoder(nn.Module):
    """A pre-norm transformer block over patches."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 32)
        self.fc2 = nn.Linear(32, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class VisionTransformer(nn.Module):
    """Patch embedding with a position parameter, one encoder block, mean pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 4, stride=4)
        self.position = nn.Parameter(torch.randn(1, 4, 16))
        self.block = Encoder()
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.block(x).mean(1))


class Shared(nn.Module):
    """One convolution that runs twice, between two others."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.twice = nn.Conv2d(16, 16, 3, padding=1)
        self.after = nn.Conv2d(16, 24, 3, padding=1)
        self.head = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.twice(torch.relu(self.twice(torch.relu(self.first(x))))))
        return self.head(torch.relu(self.after(x)).mean((2, 3)))


class Tied(nn.Module):
    """Two linear layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(16, 16)
        self.b = nn.Linear(16, 16)
        self.b.weight = self.a.weight
        self.c = nn.Linear(16, 24)
        self.head = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.c(torch.relu(self.b(torch.relu(self.a(x)))))))


class Upsampling(nn.Module):
    """A transposed convolution takes in what `conv` makes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.after = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(torch.relu(self.up(torch.relu(self.conv(x)))))


def conv1d() -> nn.Module:
    """Convolutions over time."""
    return nn.Sequential(
        nn.Conv1d(3, 16, 5, stride=2, padding=2),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Conv1d(16, 16, 3, dilation=2, groups=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(16, 4),
    )


def only_blocks() -> nn.Module:
    """Every layer lies inside a residual block."""
    return nn.Sequential(Residual(8, 16), Residual(8, 16))


def nothing() -> nn.Module:
    """No choice anywhere but the precision."""
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 3))


@dataclass(frozen=True)
class Example:
    """A teacher and how to draw calibration inputs for it."""

    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    n_samples: int = 48


EXAMPLES = {
    "resnet": Example(ResNet, ((1, 9, 9),)),
    "densenet": Example(DenseNet, ((3, 6, 6),)),
    "mobilenet": Example(MobileNet, ((3, 11, 8),)),
    "grouped": Example(Grouped, ((2, 7, 7),)),
    "flattened": Example(Flattened, ((1, 8, 8),)),
    "conv1d": Example(conv1d, ((3, 24),)),
    "two_inputs": Example(TwoInputs, ((1, 6, 6), (5,))),
    "channel_norm": Example(ChannelNorm, ((6,),)),
    "hard_coded_view": Example(HardCodedView, ((1, 4, 4),)),
    "transformer": Example(VisionTransformer, ((1, 8, 8),)),
    "shared": Example(Shared, ((1, 6, 6),)),
    "tied": Example(Tied, ((16,),)),
    "upsampling": Example(Upsampling, ((1, 5, 5),)),
    "only_blocks": Example(only_blocks, ((8, 5, 5),)),
    "nothing": Example(nothing, ((6,),)),
}


def build(name: str, frozen: bool = False) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A teacher in eval mode with random weights and running statistics, and calibration inputs."""
    example = EXAMPLES[name]
    torch.manual_seed(1)
    teacher = example.make().eval()
    for module in teacher.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean = torch.randn_like(module.running_mean) * 0.1
            module.running_var = torch.rand_like(module.running_var) + 0.5
    inputs = tuple(torch.randn(example.n_samples, *shape) for shape in example.shapes)
    if name == "two_inputs":
        inputs = inputs[0], torch.randint(11, (example.n_samples, 5))
    return teacher.requires_grad_(not frozen), inputs
