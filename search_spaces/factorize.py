"""One layer as a product of thinner ones.

- `svd:f` (linear layers and 1x1 convolutions): truncated on the principal directions of the layer's outputs (Zhang et
  al. 2016, "Accelerating Very Deep Convolutional Networks", section 3.1).
- `spatial:f`: a k x 1 convolution, then 1 x k (Jaderberg et al. 2014, scheme 2), by truncated SVD.
- `tucker2:f`: 1x1, k x k, 1x1 (Kim et al. 2016), by higher-order SVD.

The rank is the fraction f of the largest that makes sense for the layer as it stands, cut channels included.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.depth import set_submodule
from search_spaces.recipe import Choice, Kind, Site
from search_spaces.repair import LAST_FACTOR
from search_spaces.transform import Student, Transform

DENSE = "dense"
FRACTIONS = (0.5, 0.25)
MIN_WIDTH = 16
"""Layers with fewer inputs or outputs are not worth factorising."""


def factorizable(layer: nn.Module) -> tuple[str, ...]:
    """The choices for a layer, `dense` first; only `dense` where there is nothing to gain."""
    if isinstance(layer, nn.Linear):
        narrow = min(layer.in_features, layer.out_features) < MIN_WIDTH
        return (DENSE,) if narrow else (DENSE, *(f"svd:{f}" for f in FRACTIONS))
    if not isinstance(layer, nn.Conv2d) or layer.groups > 1 or isinstance(layer.padding, str):
        return (DENSE,)
    if min(layer.in_channels, layer.out_channels) < MIN_WIDTH or layer.padding_mode != "zeros":
        return (DENSE,)
    if layer.kernel_size == (1, 1):
        return (DENSE, *(f"svd:{f}" for f in FRACTIONS))
    if min(layer.kernel_size) > 1:
        return (DENSE, *(f"{method}:{f}" for method in ("tucker2", "spatial") for f in FRACTIONS))
    return (DENSE,)


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
        """For every layer of the teacher that has something to gain."""
        options = {path: factorizable(module) for path, module in teacher.named_modules()}
        return cls({path: choices for path, choices in options.items() if len(choices) > 1})

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(Site(f"factorize:{path}", self.kind, choices) for path, choices in self.options.items())

    def apply(self, student: Student, choices: Mapping[str, Choice]) -> Student:
        module = copy.deepcopy(student.module)
        for name, choice in choices.items():
            path = name.removeprefix("factorize:")
            try:
                layer = module.get_submodule(path)
            except AttributeError:
                continue  # inside a dropped block
            if choice != DENSE:
                set_submodule(module, path, factors(layer, str(choice)))
        return student.with_module(module)


@torch.no_grad()
def factors(layer: nn.Module, choice: str) -> nn.Sequential:
    """The layer as a sequence; its last child is named `last` and makes the layer's outputs.

    Args:
        layer: linear or convolution, see `factorizable`.
        choice: `method:fraction`.
    """
    method, _, text = choice.partition(":")
    fraction = float(text)
    if method == "svd":
        return _svd(layer, fraction)
    assert isinstance(layer, nn.Conv2d)
    if method == "spatial":
        return _spatial(layer, fraction)
    if method == "tucker2":
        return _tucker2(layer, fraction)
    raise ValueError(f"{choice!r} is not a factorisation: svd, spatial or tucker2")


def _rank(fraction: float, largest: int) -> int:
    """A multiple of 8 where there is room for one, at least 1."""
    rank = fraction * largest
    return max(1, round(rank / 8) * 8 if rank >= 12 else round(rank))


def _named(first: list[nn.Module], last: nn.Module) -> nn.Sequential:
    sequence = nn.Sequential()
    for index, module in enumerate(first):
        sequence.add_module(f"factor{index}", module)
    sequence.add_module(LAST_FACTOR, last)
    return sequence.eval()


def _conv(weight: Tensor, stride: tuple[int, ...], padding: tuple[int, ...], bias: Tensor | None,
          dilation: tuple[int, ...] = (1, 1)) -> nn.Conv2d:
    n_out, n_in, height, width = weight.shape
    layer = nn.Conv2d(n_in, n_out, (height, width), stride, padding, dilation, bias=bias is not None)  # type: ignore[arg-type]
    layer.weight.copy_(weight)
    if bias is not None and layer.bias is not None:
        layer.bias.copy_(bias)
    return layer


def _svd(layer: nn.Module, fraction: float) -> nn.Sequential:
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    matrix = layer.weight.flatten(1)
    rank = _rank(fraction, min(matrix.shape))
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    outer, inner = u[:, :rank] * s[:rank].sqrt(), s[:rank].sqrt()[:, None] * vh[:rank]
    if isinstance(layer, nn.Linear):
        first, last = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features)
        first.weight.copy_(inner)
        last.weight.copy_(outer)
        if layer.bias is None:
            last.register_parameter("bias", None)
        else:
            last.bias.copy_(layer.bias)
        return _named([first], last)
    shaped = inner.view(rank, *layer.weight.shape[1:])
    first_conv = _conv(shaped, layer.stride, layer.padding, None, layer.dilation)  # type: ignore[arg-type]
    return _named([first_conv], _conv(outer[:, :, None, None], (1, 1), (0, 0), layer.bias))


def _spatial(layer: nn.Conv2d, fraction: float) -> nn.Sequential:
    n_out, n_in, height, width = layer.weight.shape
    rank = _rank(fraction, min(n_out, n_in))
    matrix = layer.weight.permute(1, 2, 0, 3).reshape(n_in * height, n_out * width)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    rank = min(rank, len(s))
    vertical = (u[:, :rank] * s[:rank].sqrt()).T.reshape(rank, n_in, height, 1)
    horizontal = (s[:rank].sqrt()[:, None] * vh[:rank]).reshape(rank, n_out, 1, width).transpose(0, 1)
    stride, padding, dilation = layer.stride, layer.padding, layer.dilation
    assert not isinstance(padding, str)
    first = _conv(vertical, (stride[0], 1), (padding[0], 0), None, (dilation[0], 1))
    return _named([first], _conv(horizontal, (1, stride[1]), (0, padding[1]), layer.bias, (1, dilation[1])))


def _tucker2(layer: nn.Conv2d, fraction: float) -> nn.Sequential:
    n_out, n_in, _, _ = layer.weight.shape
    weight = layer.weight
    r_out, r_in = min(_rank(fraction, n_out), n_out), min(_rank(fraction, n_in), n_in)
    outer = torch.linalg.svd(weight.flatten(1), full_matrices=False).U[:, :r_out]
    inner = torch.linalg.svd(weight.transpose(0, 1).flatten(1), full_matrices=False).U[:, :r_in]
    core = torch.einsum("oihw,or,is->rshw", weight, outer, inner)
    return _named(
        [
            _conv(inner.T[:, :, None, None], (1, 1), (0, 0), None),
            _conv(core, layer.stride, layer.padding, None, layer.dilation),  # type: ignore[arg-type]
        ],
        _conv(outer[:, :, None, None], (1, 1), (0, 0), layer.bias),
    )
