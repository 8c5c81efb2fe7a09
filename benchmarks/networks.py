"""Plain torch networks of many shapes, random weights: what compilers and runtimes are compared on."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm, and an activation where one is given."""

    def __init__(
        self, n_in: int, n_out: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: nn.Module | None = None
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(n_out),
        ]
        super().__init__(*layers, *([act] if act is not None else []))


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016), with its own inner width."""

    def __init__(self, n_in: int, n_inner: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvNorm(n_in, n_inner, 3, stride, act=nn.ReLU()), ConvNorm(n_inner, n_out, 3, act=None)
        )
        same = stride == 1 and n_in == n_out
        self.shortcut: nn.Module = nn.Identity() if same else ConvNorm(n_in, n_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.relu(self.body(x) + self.shortcut(x))
        return y


class ResNet(nn.Module):
    """CIFAR ResNet: three stages of `n_blocks`; `inner` gives every block's inner width (None: as the stage's)."""

    def __init__(self, n_blocks: int, widths: Sequence[int] = (16, 32, 64), inner: Sequence[int] | None = None) -> None:
        super().__init__()
        self.stem = ConvNorm(3, widths[0], 3, act=nn.ReLU())
        blocks: list[nn.Module] = []
        n_in = widths[0]
        for stage, width in enumerate(widths):
            for index in range(n_blocks):
                n_inner = inner[len(blocks)] if inner else width
                blocks.append(Residual(n_in, n_inner, width, 2 if index == 0 and stage > 0 else 1))
                n_in = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(n_in, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return y


class SqueezeExcite(nn.Module):
    """Channel gates from the global mean (Hu et al. 2018; hard sigmoid as in MobileNetV3)."""

    def __init__(self, n_channels: int, n_squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(n_channels, n_squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(n_squeezed, n_channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x * self.gate(x)
        return y


class InvertedResidual(nn.Module):
    """Expand, depthwise, project (Sandler et al. 2018), with optional squeeze-excite."""

    def __init__(
        self, n_in: int, n_inner: int, n_out: int, kernel: int, stride: int, act: nn.Module, squeeze: bool = False
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [] if n_inner == n_in else [ConvNorm(n_in, n_inner, 1, act=act)]
        layers.append(ConvNorm(n_inner, n_inner, kernel, stride, groups=n_inner, act=act))
        if squeeze:
            layers.append(SqueezeExcite(n_inner, max(8, n_inner // 4)))
        self.body = nn.Sequential(*layers, ConvNorm(n_inner, n_out, 1))
        self.same = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.same else y


Row = tuple[int, int, int, int, bool, bool]
"""Inner width, outer width, kernel, stride, squeeze-excite, hard swish instead of ReLU(6)."""

V2_ROWS: tuple[Row, ...] = (
    (16, 16, 3, 1, False, False),
    (96, 24, 3, 2, False, False),
    (144, 24, 3, 1, False, False),
    (144, 32, 3, 2, False, False),
    (192, 32, 3, 1, False, False),
    (192, 64, 3, 2, False, False),
    (384, 64, 3, 1, False, False),
    (384, 96, 3, 1, False, False),
)
V2_PRUNED_ROWS: tuple[Row, ...] = (
    (16, 14, 3, 1, False, False),
    (61, 19, 3, 2, False, False),
    (83, 19, 3, 1, False, False),
    (97, 27, 3, 2, False, False),
    (130, 27, 3, 1, False, False),
    (151, 53, 3, 2, False, False),
    (270, 53, 3, 1, False, False),
    (301, 77, 3, 1, False, False),
)
V3_ROWS: tuple[Row, ...] = (
    (16, 16, 3, 1, True, False),
    (72, 24, 3, 2, False, False),
    (88, 24, 3, 1, False, False),
    (96, 40, 5, 2, True, True),
    (240, 40, 5, 1, True, True),
    (120, 48, 5, 1, True, True),
    (288, 96, 5, 2, True, True),
    (576, 96, 5, 1, True, True),
)


class MobileNet(nn.Module):
    """MobileNetV2- or V3-like network from rows of inverted residuals."""

    def __init__(self, rows: Sequence[Row], stem: int, last: int, relu: nn.Module, swish: nn.Module) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNorm(3, stem, 3, 2, act=swish)]
        n_in = stem
        for n_inner, n_out, kernel, stride, squeeze, swishes in rows:
            act = swish if swishes else relu
            layers.append(InvertedResidual(n_in, n_inner, n_out, kernel, stride, act, squeeze))
            n_in = n_out
        self.body = nn.Sequential(*layers, ConvNorm(n_in, last, 1, act=swish))
        self.head = nn.Linear(last, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.body(x).mean((2, 3)))
        return y


class DenseLayer(nn.Module):
    """Pre-activated 1x1 and 3x3 convolutions whose output is put beside their input (Huang et al. 2017)."""

    def __init__(self, n_in: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(n_in),
            nn.ReLU(),
            ConvNorm(n_in, 4 * growth, 1, act=nn.ReLU()),
            nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.body(x)), 1)


class DenseNet(nn.Module):
    """Three dense blocks with average-pooled transitions."""

    def __init__(self, growth: int = 12, n_layers: int = 4) -> None:
        super().__init__()
        n_in = 2 * growth
        layers: list[nn.Module] = [nn.Conv2d(3, n_in, 3, 1, 1, bias=False)]
        for block in range(3):
            for _ in range(n_layers):
                layers.append(DenseLayer(n_in, growth))
                n_in += growth
            if block < 2:
                layers += [ConvNorm(n_in, n_in // 2, 1, act=nn.ReLU()), nn.AvgPool2d(2)]
                n_in //= 2
        self.body = nn.Sequential(*layers, nn.BatchNorm2d(n_in), nn.ReLU())
        self.head = nn.Linear(n_in, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.body(x).mean((2, 3)))
        return y


class ChannelNorm(nn.Module):
    """Layer norm over channels, (batch, channels, height, width) in and out."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(n_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return y


class ConvNeXtBlock(nn.Module):
    """7x7 depthwise, layer norm, two linear layers with GELU, beside a shortcut (Liu et al. 2022)."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(n_channels, n_channels, 7, padding=3, groups=n_channels)
        self.norm = nn.LayerNorm(n_channels)
        self.expand = nn.Linear(n_channels, 4 * n_channels)
        self.act = nn.GELU()
        self.project = nn.Linear(4 * n_channels, n_channels)
        self.scale = nn.Parameter(torch.full((n_channels,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.project(self.act(self.expand(y)))
        z: Tensor = x + y.permute(0, 3, 1, 2)
        return z


class ConvNeXt(nn.Module):
    """Patches of 4x4 pixels, then stages of blocks with 2x2 reductions between."""

    def __init__(self, widths: Sequence[int] = (32, 64, 128), n_blocks: Sequence[int] = (1, 1, 2)) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 4), ChannelNorm(widths[0])]
        for stage, (width, n) in enumerate(zip(widths, n_blocks, strict=True)):
            layers += [ConvNeXtBlock(width) for _ in range(n)]
            if stage + 1 < len(widths):
                layers += [ChannelNorm(width), nn.Conv2d(width, widths[stage + 1], 2, 2)]
        self.body = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(widths[-1])
        self.head = nn.Linear(widths[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.norm(self.body(x).mean((2, 3))))
        return y


class Attention(nn.Module):
    """Multi-head self-attention, spelled out."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, n, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, n, 3, self.n_heads, width // self.n_heads).permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(q @ k.transpose(-2, -1) * (width // self.n_heads) ** -0.5, -1)
        y: Tensor = self.out((weights @ v).transpose(1, 2).reshape(batch, n, width))
        return y


class TransformerBlock(nn.Module):
    """Pre-norm attention and two-layer perceptron."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, n_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class ViT(nn.Module):
    """Small vision transformer on 4x4 patches of a 32x32 image, mean-pooled (64 tokens)."""

    def __init__(self, width: int = 96, n_heads: int = 3, n_blocks: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.position = nn.Parameter(torch.randn(1, 64, width) * 0.1)
        self.blocks = nn.Sequential(*(TransformerBlock(width, n_heads) for _ in range(n_blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.position
        y: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return y


def vgg(widths: Sequence[int] = (32, 64, 128, 128)) -> nn.Module:
    """Pairs of 3x3 convolutions and max-pooling, with two linear layers at the end."""
    layers: list[nn.Module] = []
    n_in = 3
    for width in widths:
        layers += [ConvNorm(n_in, width, 3, act=nn.ReLU()), ConvNorm(width, width, 3, act=nn.ReLU()), nn.MaxPool2d(2)]
        n_in = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * n_in, 128), nn.ReLU(), nn.Linear(128, 10))


def _mobilenet_v2(rows: Sequence[Row], stem: int, last: int) -> nn.Module:
    return MobileNet(rows, stem, last, nn.ReLU6(), nn.ReLU6())


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet20": (lambda: ResNet(3), (1, 3, 32, 32)),
    "resnet56": (lambda: ResNet(9), (1, 3, 32, 32)),
    "resnet20_pruned": (lambda: ResNet(3, (16, 31, 57), (12, 9, 14, 23, 20, 29, 47, 40, 53)), (1, 3, 32, 32)),
    "mobilenet_v2": (lambda: _mobilenet_v2(V2_ROWS, 16, 256), (1, 3, 64, 64)),
    "mobilenet_v2_pruned": (lambda: _mobilenet_v2(V2_PRUNED_ROWS, 16, 201), (1, 3, 64, 64)),
    "mobilenet_v3": (lambda: MobileNet(V3_ROWS, 16, 288, nn.ReLU(), nn.Hardswish()), (1, 3, 64, 64)),
    "densenet": (DenseNet, (1, 3, 32, 32)),
    "convnext": (ConvNeXt, (1, 3, 64, 64)),
    "vit": (ViT, (1, 3, 32, 32)),
    "vgg": (vgg, (1, 3, 32, 32)),
}
"""Name to what builds the network, and the shape of its input."""


def network(name: str, seed: int = 0) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A network of the table in evaluation mode, with batch norms as after some training, and an input for it."""
    build, shape = NETWORKS[name]
    torch.manual_seed(seed)
    module = build().eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean = torch.randn(layer.num_features) * 0.1
            layer.running_var = torch.rand(layer.num_features) + 0.5
    return module, (torch.randn(*shape),)
