"""What is remembered of the teacher's layers on calibration inputs: rows of a least-squares problem for each.

A row is one output position of one calibration sample: the patch of inputs that the layer sees there, and what the
teacher's layer answers. Gathering rows at drawn positions costs a fraction of unfolding everything.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from search_spaces.sharing import shares_weights

Layer = nn.Conv1d | nn.Conv2d | nn.Linear
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)
MAX_ROWS = 6144
ROWS_PER_FEATURE = 6


@dataclass(frozen=True, eq=False)
class LayerRows:
    """Drawn output positions of one layer and the teacher's answers there.

    Attributes:
        samples: (n_rows,) calibration sample of each row.
        positions: (n_rows,) flat output position of each row.
        outputs: (n_rows, n_outputs) float32, the teacher's answers.
    """

    samples: Tensor
    positions: Tensor
    outputs: Tensor


@dataclass(frozen=True, eq=False)
class Statistics:
    """The teacher on its calibration inputs.

    Attributes:
        inputs: one tensor for each input of the network, (n_samples, ...).
        outputs: (n_samples, ...) of the network.
        rows: by layer path; a layer that runs more than once in a forward pass, or shares its weights, has none.
    """

    inputs: tuple[Tensor, ...]
    outputs: Tensor
    rows: Mapping[str, LayerRows]


@torch.no_grad()
def collect(
    teacher: nn.Module,
    inputs: tuple[Tensor, ...],
    generator: torch.Generator,
    visit: Callable[[str, Layer, Tensor], None] | None = None,
    max_rows: int = MAX_ROWS,
) -> Statistics:
    """Runs the teacher once over the calibration inputs.

    Args:
        teacher: in eval mode.
        inputs: (n_samples, ...) each.
        generator: draws the positions.
        visit: called with (path, layer, rows of inputs (n_rows, n_features)) at a layer's first run.
        max_rows: of one layer.
    """
    tied = shares_weights(teacher)
    rows: dict[str, LayerRows] = {}
    calls: Counter[str] = Counter()
    handles = []

    def hook(path: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            calls[path] += 1
            if calls[path] > 1 or not isinstance(layer, LAYERS):
                rows.pop(path, None)
                return
            rows[path] = _draw(layer, output, generator, max_rows)
            if visit is not None:
                visit(path, layer, input_rows(layer, args[0], rows[path].samples, rows[path].positions))

        return record

    for path, module in teacher.named_modules():
        if isinstance(module, LAYERS) and "weight" in module._parameters and path not in tied:
            handles.append(module.register_forward_hook(hook(path)))
    try:
        outputs = teacher(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return Statistics(inputs, outputs, rows)


def _draw(layer: Layer, output: Tensor, generator: torch.Generator, max_rows: int) -> LayerRows:
    flat = _positions_last(layer, output)  # (n_samples, n_positions, n_outputs)
    n_samples, n_positions, _ = flat.shape
    n_wanted = min(n_samples * n_positions, max_rows, max(2048, ROWS_PER_FEATURE * layer.weight[0].numel()))
    drawn = torch.randperm(n_samples * n_positions, generator=generator)[:n_wanted]
    samples, positions = drawn // n_positions, drawn % n_positions
    return LayerRows(samples, positions, flat[samples, positions].clone())


def _positions_last(layer: Layer, output: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return output.reshape(len(output), -1, output.shape[-1])
    return output.flatten(2).transpose(1, 2)


def input_rows(layer: Layer, inputs: Tensor, samples: Tensor, positions: Tensor) -> Tensor:
    """Patches that a layer sees at drawn output positions.

    Args:
        layer: convolution or linear layer.
        inputs: (n_samples, channels, ...) or, for a linear layer, (n_samples, ..., features).
        samples, positions: (n_rows,).

    Returns:
        (n_rows, channels * kernel) in the order of `weight.flatten(1)`; a grouped convolution's groups lie one after
        the other.
    """
    if isinstance(layer, nn.Linear):
        return inputs.reshape(len(inputs), -1, inputs.shape[-1])[samples, positions]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = functional.pad(inputs, layer._reversed_padding_repeated_twice, mode)
    kernel, stride, dilation = list(layer.kernel_size), list(layer.stride), list(layer.dilation)
    if isinstance(layer, nn.Conv1d):
        padded = padded[:, :, None]
        kernel, stride, dilation = [1, *kernel], [1, *stride], [1, *dilation]
    n_columns = (padded.shape[3] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    top = (positions // n_columns * stride[0])[:, None, None]
    left = (positions % n_columns * stride[1])[:, None, None]
    down = (torch.arange(kernel[0]) * dilation[0])[None, :, None]
    right = (torch.arange(kernel[1]) * dilation[1])[None, None, :]
    patches = padded.permute(0, 2, 3, 1)[samples[:, None, None], top + down, left + right]  # (rows, kh, kw, channels)
    return patches.permute(0, 3, 1, 2).reshape(len(samples), -1)


def n_groups(layer: nn.Module) -> int:
    """Convolution groups; 1 for a linear layer."""
    return layer.groups if isinstance(layer, _ConvNd) else 1
