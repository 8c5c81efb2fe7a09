"""Cutting input and output channels out of single layers; weights are copied, never changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

SLICEABLE = (nn.Conv1d, nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.PReLU)
"""Layers that can be cut. Transposed convolutions, recurrent layers and normalisations over channels cannot."""


@dataclass(frozen=True, eq=False)
class Keep:
    """Sorted indices that stay on a layer's output and input axis; None keeps all."""

    outputs: NDArray[np.int64] | None = None
    inputs: NDArray[np.int64] | None = None


def is_depthwise(module: nn.Module) -> bool:
    """A convolution whose every channel is filtered alone: one unit carries through it."""
    return isinstance(module, _ConvNd) and 1 < module.groups == module.in_channels == module.out_channels


def n_features(module: nn.Module, side: Literal["in", "out"]) -> int:
    """Length of a sliceable layer's input or output axis."""
    if isinstance(module, _ConvNd):
        return module.out_channels if side == "out" else module.in_channels
    if isinstance(module, nn.Linear):
        return module.out_features if side == "out" else module.in_features
    if isinstance(module, _BatchNorm):
        return module.num_features
    if isinstance(module, nn.PReLU):
        return module.num_parameters
    raise TypeError(f"{type(module).__name__} cannot be cut")


def slice_modules(module: nn.Module, keeps: Mapping[str, Keep]) -> None:
    """Cuts the named layers of a module in place; paths that no longer exist in it are passed over."""
    for path, keep in keeps.items():
        try:
            layer = module.get_submodule(path)
        except AttributeError:
            continue  # inside a dropped block
        slice_layer(layer, keep)


@torch.no_grad()
def slice_layer(layer: nn.Module, keep: Keep) -> None:
    """Cuts one layer in place.

    Raises:
        TypeError: a kind of layer that cannot be cut.
    """
    outputs = None if keep.outputs is None else torch.from_numpy(keep.outputs)
    inputs = None if keep.inputs is None else torch.from_numpy(keep.inputs)
    if is_depthwise(layer):
        assert isinstance(layer, _ConvNd)
        _select(layer, ("weight", "bias"), outputs)
        layer.groups = layer.in_channels = layer.out_channels = len(layer.weight)
    elif isinstance(layer, _ConvNd):
        if inputs is not None:
            layer.in_channels = len(inputs)
            width = layer.weight.shape[1]
            local = inputs[inputs < width]  # the same local channels stay in every group
            layer.weight = nn.Parameter(layer.weight[:, local].clone(), layer.weight.requires_grad)
        if outputs is not None:
            _select(layer, ("weight", "bias"), outputs)
            layer.out_channels = len(outputs)
    elif isinstance(layer, nn.Linear):
        if inputs is not None:
            layer.weight = nn.Parameter(layer.weight[:, inputs].clone(), layer.weight.requires_grad)
            layer.in_features = len(inputs)
        if outputs is not None:
            _select(layer, ("weight", "bias"), outputs)
            layer.out_features = len(outputs)
    elif isinstance(layer, _BatchNorm):
        _select(layer, ("weight", "bias", "running_mean", "running_var"), outputs)
        layer.num_features = n_features(layer, "out") if outputs is None else len(outputs)
    elif isinstance(layer, nn.PReLU):
        if layer.num_parameters > 1 and outputs is not None:
            _select(layer, ("weight",), outputs)
            layer.num_parameters = len(outputs)
    else:
        raise TypeError(f"{type(layer).__name__} cannot be cut")


def _select(layer: nn.Module, names: tuple[str, ...], indices: Tensor | None) -> None:
    if indices is None:
        return
    for name in names:
        value = getattr(layer, name)
        if isinstance(value, nn.Parameter):
            setattr(layer, name, nn.Parameter(value[indices].clone(), requires_grad=value.requires_grad))
        elif isinstance(value, Tensor):
            setattr(layer, name, value[indices].clone())
