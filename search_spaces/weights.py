"""How many parameters each module of a network has, as a function of how many of its features stay."""

from collections import defaultdict
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from search_spaces.ranks import Pair, factors_of, saves
from search_spaces.sharing import shares_weights
from search_spaces.slicing import is_depthwise


@dataclass(frozen=True)
class Weights:
    """Where a module's own parameters come from.

    Attributes:
        n_in, n_out: length of its axes.
        kernel: height and width, or (taps, 1); (0, 0) where only `per_output` counts.
        stride: rows and columns.
        n_groups: convolution groups.
        per_output: parameters that each output has besides: a bias, a scale.
        carries: a depthwise convolution, whose input channels are its output channels.
    """

    n_in: int
    n_out: int
    kernel: Pair = (0, 0)
    stride: Pair = (1, 1)
    n_groups: int = 1
    per_output: int = 0
    carries: bool = False

    def count(self, n_in: int, n_out: int, choice: str = "dense") -> int:
        """Parameters with these many inputs and outputs left, factorised where `factorize` would do it."""
        if choice != "dense" and saves(choice, n_in, n_out, self.kernel, self.stride):
            n_weights = sum(factor.n_weights for factor in factors_of(choice, n_in, n_out, self.kernel))
        else:
            n_weights = (1 if self.carries else n_in // self.n_groups) * n_out * self.kernel[0] * self.kernel[1]
        return n_weights + self.per_output * n_out


def weights_of(network: nn.Module) -> dict[str, Weights]:
    """By path, every module with parameters of its own."""
    found = {path: _read(module) for path, module in network.named_modules()}
    return {path: weights for path, weights in found.items() if weights.count(weights.n_in, weights.n_out)}


def tied_parameters(network: nn.Module) -> tuple[tuple[frozenset[str], int], ...]:
    """Each parameter of the modules that share some: paths of the modules that have it, and its elements."""
    owners: dict[nn.Parameter, set[str]] = defaultdict(set)
    for path in sorted(shares_weights(network)):
        for parameter in network.get_submodule(path)._parameters.values():
            if parameter is not None:
                owners[parameter].add(path)
    return tuple((frozenset(paths), parameter.numel()) for parameter, paths in owners.items())


def _read(module: nn.Module) -> Weights:
    n_own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
    if isinstance(module, nn.Conv2d):
        kernel, stride = (module.kernel_size[0], module.kernel_size[1]), (module.stride[0], module.stride[1])
        return _conv(module, kernel, stride)
    if isinstance(module, _ConvNd):
        return _conv(module, (module.weight[0, 0].numel(), 1), (1, 1))
    if isinstance(module, nn.Linear):
        n_bias = int(module.bias is not None)
        return Weights(module.in_features, module.out_features, (1, 1), per_output=n_bias)
    if isinstance(module, _BatchNorm):
        return Weights(1, module.num_features, per_output=n_own // module.num_features)
    if isinstance(module, nn.PReLU):
        return Weights(1, module.num_parameters, per_output=1)
    return Weights(1, n_own, per_output=1)


def _conv(layer: _ConvNd, kernel: Pair, stride: Pair) -> Weights:
    n_bias = int(layer.bias is not None)
    return Weights(layer.in_channels, layer.out_channels, kernel, stride, layer.groups, n_bias, is_depthwise(layer))
