"""One layer as a product of thinner ones.

- `svd:f` (linear layers and 1x1 convolutions): truncated on the principal directions of the layer's outputs (Zhang et
  al. 2016, "Accelerating Very Deep Convolutional Networks", section 3.1).
- `spatial:f`: a k x 1 convolution, then 1 x k (Jaderberg et al. 2014, scheme 2), by truncated SVD.
- `tucker2:f`: 1x1, k x k, 1x1 (Kim et al. 2016), by higher-order SVD.

The rank is the fraction f of the largest that makes sense for the layer as it stands, cut channels included.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from search_spaces.ranks import factors_of, saves
from search_spaces.recipe import Choice, Kind, Site
from search_spaces.repair import LAST_FACTOR
from search_spaces.sharing import set_submodule, shares_weights
from search_spaces.transform import Student, Transform

DENSE = "dense"
FRACTIONS = (0.5, 0.25)
MIN_WIDTH = 16
"""Layers with fewer inputs or outputs are not worth factorising."""


def factorizable(layer: nn.Module) -> tuple[str, ...]:
    """The choices for a layer, `dense` first; only `dense` where there is nothing to gain."""
    if isinstance(layer, nn.Linear):
        methods: tuple[str, ...] = ("svd",)
        narrow = min(layer.in_features, layer.out_features)
    elif isinstance(layer, nn.Conv2d):
        if layer.groups > 1 or isinstance(layer.padding, str) or layer.padding_mode != "zeros":
            return (DENSE,)
        kernel = layer.kernel_size
        methods = ("svd",) if kernel == (1, 1) else ("tucker2", "spatial") if min(kernel) > 1 else ()
        narrow = min(layer.in_channels, layer.out_channels)
    else:
        return (DENSE,)
    if narrow < MIN_WIDTH:
        return (DENSE,)
    offered = (f"{method}:{fraction}" for method in methods for fraction in FRACTIONS)
    return (DENSE, *(choice for choice in offered if worthwhile(layer, choice)))


def worthwhile(layer: nn.Module, choice: str) -> bool:
    """Whether the factors cost less than the linear layer or convolution as it stands."""
    if isinstance(layer, nn.Conv2d):
        kernel, stride = (layer.kernel_size[0], layer.kernel_size[1]), (layer.stride[0], layer.stride[1])
        return saves(choice, layer.in_channels, layer.out_channels, kernel, stride)
    assert isinstance(layer, nn.Linear)
    return saves(choice, layer.in_features, layer.out_features)


@dataclass(frozen=True, eq=False)
class Factorize(Transform):
    """Replaces layers by sequences of factors.

    Attributes:
        options: layer path to its choices, `dense` first.
    """

    options: Mapping[str, tuple[str, ...]]
    kind: Kind = "factorize"

    @classmethod
    def of(cls, teacher: nn.Module) -> "Factorize":
        """For every layer of the teacher that has something to gain and shares its weights with no other."""
        tied = shares_weights(teacher)
        options = {
            path: factorizable(module)
            for path, module in teacher.named_modules()
            # nn.MultiheadAttention reads the weight of its output projection; it never calls that layer.
            if path and path not in tied and not isinstance(module, NonDynamicallyQuantizableLinear)
        }
        return cls({path: choices for path, choices in options.items() if len(choices) > 1})

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(Site(f"factorize:{path}", self.kind, choices) for path, choices in self.options.items())

    def change(self, student: Student, choices: Mapping[str, Choice]) -> Student:
        module = student.module
        idle = dict(student.without_effect)
        for name, choice in choices.items():
            path = name.removeprefix("factorize:")
            try:
                layer = module.get_submodule(path)
            except AttributeError:
                idle[name] = "the layer is in a dropped block"
                continue
            if choice != DENSE and worthwhile(layer, str(choice)):
                set_submodule(module, path, factors(layer, str(choice)))
            elif choice != DENSE:
                idle[name] = "so few channels are left that the factors would cost more than the layer"
        return replace(student, without_effect=idle)


@torch.no_grad()
def factors(layer: nn.Module, choice: str) -> nn.Sequential:
    """The layer as a sequence; its last child is named `last` and makes the layer's outputs.

    Args:
        layer: linear or convolution, see `factorizable`.
        choice: `method:fraction`.
    """
    trains = any(parameter.requires_grad for parameter in layer.parameters())
    return _factored(layer, choice).requires_grad_(trains)


def _factored(layer: nn.Module, choice: str) -> nn.Sequential:
    if isinstance(layer, nn.Linear):
        return _linear_svd(layer, factors_of(choice, layer.in_features, layer.out_features)[0].n_out)
    assert isinstance(layer, nn.Conv2d)
    sizes = factors_of(choice, layer.in_channels, layer.out_channels, (layer.kernel_size[0], layer.kernel_size[1]))
    method = choice.partition(":")[0]
    if method == "svd":
        return _svd(layer, sizes[0].n_out)
    if method == "spatial":
        return _spatial(layer, sizes[0].n_out)
    return _tucker2(layer, sizes[1].n_in, sizes[1].n_out)


def _named(first: list[nn.Module], last: nn.Module) -> nn.Sequential:
    sequence = nn.Sequential()
    for index, module in enumerate(first):
        sequence.add_module(f"factor{index}", module)
    sequence.add_module(LAST_FACTOR, last)
    return sequence.eval()


def _conv(
    weight: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    bias: Tensor | None,
    dilation: tuple[int, ...] = (1, 1),
) -> nn.Conv2d:
    n_out, n_in, height, width = weight.shape
    layer = nn.Conv2d(n_in, n_out, (height, width), stride, padding, dilation, bias=bias is not None)  # type: ignore[arg-type]
    layer.to(weight)
    layer.weight.copy_(weight)
    if bias is not None and layer.bias is not None:
        layer.bias.copy_(bias)
    return layer


def _truncated(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best (rows, rank) @ (rank, columns), the singular values shared between both."""
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank] * s[:rank].sqrt(), s[:rank].sqrt()[:, None] * vh[:rank]


def _linear_svd(layer: nn.Linear, rank: int) -> nn.Sequential:
    outer, inner = _truncated(layer.weight, rank)
    first = nn.Linear(layer.in_features, rank, bias=False).to(inner)
    last = nn.Linear(rank, layer.out_features, bias=layer.bias is not None).to(inner)
    first.weight.copy_(inner)
    last.weight.copy_(outer)
    if layer.bias is not None:
        last.bias.copy_(layer.bias)
    return _named([first], last)


def _svd(layer: nn.Conv2d, rank: int) -> nn.Sequential:
    outer, inner = _truncated(layer.weight.flatten(1), rank)
    shaped = inner.view(rank, *layer.weight.shape[1:])
    first = _conv(shaped, layer.stride, layer.padding, None, layer.dilation)  # type: ignore[arg-type]
    return _named([first], _conv(outer[:, :, None, None], (1, 1), (0, 0), layer.bias))


def _spatial(layer: nn.Conv2d, rank: int) -> nn.Sequential:
    n_out, n_in, height, width = layer.weight.shape
    matrix = layer.weight.permute(1, 2, 0, 3).reshape(n_in * height, n_out * width)
    outer, inner = _truncated(matrix, rank)
    vertical = outer.T.reshape(rank, n_in, height, 1)
    horizontal = inner.reshape(rank, n_out, 1, width).transpose(0, 1)
    stride, padding, dilation = layer.stride, layer.padding, layer.dilation
    assert not isinstance(padding, str)
    first = _conv(vertical, (stride[0], 1), (padding[0], 0), None, (dilation[0], 1))
    return _named([first], _conv(horizontal, (1, stride[1]), (0, padding[1]), layer.bias, (1, dilation[1])))


def _tucker2(layer: nn.Conv2d, r_in: int, r_out: int) -> nn.Sequential:
    weight = layer.weight
    outer = torch.linalg.svd(weight.flatten(1), full_matrices=False).U[:, :r_out]
    inner = torch.linalg.svd(weight.transpose(0, 1).flatten(1), full_matrices=False).U[:, :r_in]
    core = torch.einsum("oihw,or,is->rshw", weight, outer, inner)
    first = _conv(inner.T[:, :, None, None], (1, 1), (0, 0), None)
    middle = _conv(core, layer.stride, layer.padding, None, layer.dilation)  # type: ignore[arg-type]
    return _named([first, middle], _conv(outer[:, :, None, None], (1, 1), (0, 0), layer.bias))
