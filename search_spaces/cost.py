"""What a module costs on paper: multiply-accumulates, parameters, bytes, activations; layer by layer."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


@dataclass(frozen=True)
class LayerCost:
    """One run of one layer in a forward pass of one sample.

    Attributes:
        path: of the layer.
        kind: `conv`, `pointwise`, `depthwise` or `linear`.
        n_in, n_out: channels or features.
        kernel: taps of the kernel (1 for a linear layer).
        groups: convolution groups.
        n_positions: output positions.
        n_input_positions: input positions.
    """

    path: str
    kind: str
    n_in: int
    n_out: int
    kernel: int
    groups: int
    n_positions: int
    n_input_positions: int

    @property
    def n_macs(self) -> int:
        """Multiply-accumulates."""
        return self.n_in // self.groups * self.n_out * self.kernel * self.n_positions


@dataclass(frozen=True)
class Cost:
    """A whole module, for one sample.

    Attributes:
        layers: in the order in which they run.
        n_parameters: all of the module's.
        peak_elements: largest sum of one layer's input and output elements.
    """

    layers: tuple[LayerCost, ...]
    n_parameters: int
    peak_elements: int

    @property
    def n_macs(self) -> int:
        """Multiply-accumulates of all convolutions and linear layers."""
        return sum(layer.n_macs for layer in self.layers)


@torch.no_grad()
def cost(module: nn.Module, example: tuple[Tensor, ...]) -> Cost:
    """Runs the module once and adds up.

    Args:
        module: in eval mode.
        example: one tensor for each input; only the first sample is used.
    """
    layers: list[LayerCost] = []
    peak = 0

    def hook(path: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            nonlocal peak
            layers.append(_layer_cost(path, layer, args[0], output))
            peak = max(peak, args[0].numel() + output.numel())

        return record

    handles = [
        layer.register_forward_hook(hook(path))
        for path, layer in module.named_modules()
        if isinstance(layer, _ConvNd | nn.Linear)
    ]
    try:
        module(*(tensor[:1] for tensor in example))
    finally:
        for handle in handles:
            handle.remove()
    return Cost(tuple(layers), sum(p.numel() for p in module.parameters()), peak)


def conv_kind(n_in: int, kernel: int, groups: int) -> str:
    """`LayerCost.kind` of a convolution."""
    if groups > 1 and groups == n_in:
        return "depthwise"
    return "conv" if kernel > 1 else "pointwise"


def _layer_cost(path: str, layer: nn.Module, inputs: Tensor, output: Tensor) -> LayerCost:
    if isinstance(layer, nn.Linear):
        n_positions = output.numel() // layer.out_features
        return LayerCost(path, "linear", layer.in_features, layer.out_features, 1, 1, n_positions, n_positions)
    assert isinstance(layer, _ConvNd)
    kernel = layer.weight[0, 0].numel()
    return LayerCost(
        path,
        conv_kind(layer.in_channels, kernel, layer.groups),
        layer.in_channels,
        layer.out_channels,
        kernel,
        layer.groups,
        output[0, 0].numel(),
        inputs[0, 0].numel(),
    )
