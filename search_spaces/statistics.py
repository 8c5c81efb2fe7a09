"""What is remembered of the teacher's layers on calibration inputs: rows of a least-squares problem for each.

A row is one output position of one calibration sample: the patch of inputs that the layer sees there, and what the
teacher's layer answers. Gathering rows at drawn positions costs a fraction of unfolding everything.
"""

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from search_spaces.arrange import arranged, channels_last, has_bfloat16, squares
from search_spaces.sharing import shares_weights

Layer = nn.Conv1d | nn.Conv2d | nn.Linear
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)
MAX_ROWS = 6144
MIN_ROWS = 2048
ROWS_PER_FEATURE = 6
ROUNDED = 0.05
"""How far bfloat16 may move an answer, as a share of the largest; a network of some 15 layers moves by about .01."""


@dataclass(frozen=True, eq=False)
class LayerRows:
    """Drawn output positions of one layer and the teacher's answers there.

    Attributes:
        samples: (n_rows,) calibration sample of each row.
        positions: (n_rows,) flat output position of each row.
        outputs: (n_rows, n_outputs) float32, the teacher's answers.
        size: rows and columns of the output positions.
    """

    samples: Tensor
    positions: Tensor
    outputs: Tensor
    size: tuple[int, int]

    def on_grid_of(self, size: tuple[int, int]) -> "LayerRows":
        """The rows at the positions that a coarser grid has, renumbered for it; all of them where it is no coarser.

        Args:
            size: rows and columns of a layer whose image was halved earlier.
        """
        step = -(-self.size[0] // max(size[0], 1))
        if step <= 1:
            return self
        row, column = self.positions // self.size[1], self.positions % self.size[1]
        kept = (row % step == 0) & (column % step == 0)
        coarse = row[kept] // step * size[1] + column[kept] // step
        return LayerRows(self.samples[kept], coarse, self.outputs[kept], size)


@dataclass(frozen=True, eq=False)
class Statistics:
    """The teacher on its calibration inputs.

    Attributes:
        inputs: one tensor for each input of the network, (n_samples, ...).
        outputs: (n_samples, ...) of the network.
        rows: by layer path; a layer that runs more than once in a forward pass, or shares its weights, has none.
        channels_last: whether the network also runs with its images' channels side by side in memory, which is how
            rows are gathered fastest; a `view` in its `forward` can forbid it.
        bfloat16: whether students may be repaired in it: the processor has it, and the network runs and answers about
            the same.
    """

    inputs: tuple[Tensor, ...]
    outputs: Tensor
    rows: Mapping[str, LayerRows]
    channels_last: bool = False
    bfloat16: bool = False


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
        visit: called with (path, layer, `input_rows`) at a layer's first run.
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

    network, images_last, bfloat16 = _fastest(teacher, tuple(tensor[:2] for tensor in inputs))
    for path, module in network.named_modules():
        if isinstance(module, LAYERS) and "weight" in module._parameters and path not in tied:
            handles.append(module.register_forward_hook(hook(path)))
    try:
        outputs = network(*(channels_last(inputs) if images_last else inputs))
    finally:
        for handle in handles:
            handle.remove()
    return Statistics(inputs, outputs.contiguous(), rows, images_last, bfloat16)


def _fastest(teacher: nn.Module, some: tuple[Tensor, ...]) -> tuple[nn.Module, bool, bool]:
    """The teacher, or a copy with the images' channels side by side if that runs; whether it does, and in bfloat16."""
    wanted: Tensor = teacher(*some)
    network, images_last = teacher, False
    if any(tensor.ndim == 4 for tensor in some):
        copied = arranged(copy.deepcopy(teacher), torch.channels_last)
        images_last = _answers(copied, channels_last(some), wanted)
        network = copied if images_last else teacher
    some = channels_last(some) if images_last else some
    return network, images_last, has_bfloat16() and _answers(network, some, wanted, bfloat16=True)


def _answers(network: nn.Module, inputs: tuple[Tensor, ...], wanted: Tensor, bfloat16: bool = False) -> bool:
    """Whether a network answers what is wanted, but for rounding."""
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16, cache_enabled=False):
            got: Tensor = network(*inputs)
    except RuntimeError:
        return False
    share = ROUNDED if bfloat16 else 1e-4
    off = share * float(wanted.abs().max())
    return got.shape == wanted.shape and torch.allclose(got.float(), wanted, rtol=1e-3, atol=off)


def _draw(layer: Layer, output: Tensor, generator: torch.Generator, max_rows: int) -> LayerRows:
    flat = _positions_last(layer, output)  # (n_samples, n_positions, n_outputs)
    n_samples, n_positions, _ = flat.shape
    n_wanted = min(n_samples * n_positions, max_rows, n_rows_for(layer))
    drawn = torch.randperm(n_samples * n_positions, generator=generator)[:n_wanted]
    samples, positions = drawn // n_positions, drawn % n_positions
    rows = flat[samples, positions].clone()
    size = (
        (output.shape[2], output.shape[3])
        if output.ndim == 4 and not isinstance(layer, nn.Linear)
        else (1, n_positions)
    )
    return LayerRows(samples, positions, rows, size)


def output_size(layer: Layer, inputs: Tensor) -> tuple[int, int]:
    """Rows and columns of what a layer answers; (1, n_positions) where it sees no image."""
    if isinstance(layer, nn.Linear):
        return 1, inputs[0].numel() // inputs.shape[-1]
    sizes = []
    for axis, kernel in enumerate(layer.kernel_size):
        padding = layer._reversed_padding_repeated_twice[-2 * axis - 2 :][:2]
        room = inputs.shape[2 + axis] + sum(padding) - layer.dilation[axis] * (kernel - 1) - 1
        sizes.append(room // layer.stride[axis] + 1)
    return (sizes[0], sizes[1]) if len(sizes) == 2 else (1, sizes[0])


def n_rows_for(layer: Layer) -> int:
    """How many rows a layer's weights are worth; a student's layer that sees fewer features needs fewer."""
    return max(MIN_ROWS, ROWS_PER_FEATURE * layer.weight[0].numel())


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
        (n_rows, kernel * channels) in the order of `matrix_of`; a grouped convolution's groups lie one after the other.
    """
    if isinstance(layer, nn.Linear):
        return inputs.reshape(len(inputs), -1, inputs.shape[-1])[samples, positions]
    kernel, stride, dilation = list(layer.kernel_size), list(layer.stride), list(layer.dilation)
    pads = layer._reversed_padding_repeated_twice
    if layer.padding_mode != "zeros" and any(pads):
        inputs, pads = functional.pad(inputs, pads, layer.padding_mode), [0] * len(pads)
    if isinstance(layer, nn.Conv1d):
        inputs, pads = inputs[:, :, None], [*pads, 0, 0]
        kernel, stride, dilation = [1, *kernel], [1, *stride], [1, *dilation]
    _, n_channels, height, width = inputs.shape
    n_columns = (width + sum(pads[:2]) - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    down = (positions // n_columns * stride[0] - pads[2])[:, None] + torch.arange(kernel[0]) * dilation[0]
    right = (positions % n_columns * stride[1] - pads[0])[:, None] + torch.arange(kernel[1]) * dilation[1]
    pixel = samples[:, None, None] * (height * width) + (down.clamp(0, height - 1) * width)[:, :, None]
    pixel = (pixel + right.clamp(0, width - 1)[:, None]).flatten()
    patches = inputs.permute(0, 2, 3, 1).reshape(-1, n_channels).index_select(0, pixel)
    outside = ((down < 0) | (down >= height))[:, :, None] | ((right < 0) | (right >= width))[:, None]
    patches.index_fill_(0, outside.flatten().nonzero().flatten(), 0)
    # (rows, groups, taps, channels of one): a group's channels lie side by side for each tap of the kernel.
    patches = patches.view(len(samples), -1, layer.groups, n_channels // layer.groups).transpose(1, 2)
    return patches.reshape(len(samples), -1)


def gram_of(layer: Layer, rows: Tensor, rounded: bool) -> Tensor:
    """The mean over rows of the outer product of a layer's inputs.

    Args:
        layer: whose inputs they are.
        rows: see `input_rows`.
        rounded: see `search_spaces.arrange.product`.

    Returns:
        (n_conv_groups, n_features, n_features), features in the order of `weight.flatten(1)`.
    """
    x = rows.view(len(rows), n_groups(layer), -1).transpose(0, 1)
    gram = squares(x, rounded) / len(rows)
    n_taps = layer.weight[0, 0].numel()
    apart = gram.view(len(gram), n_taps, -1, n_taps, gram.shape[2] // n_taps)
    return apart.permute(0, 2, 1, 4, 3).reshape(gram.shape)


def matrix_of(layer: Layer) -> Tensor:
    """The layer's weight as a matrix (n_outputs, n_features): the channels side by side for each tap of the kernel."""
    return layer.weight.movedim(1, -1).flatten(1)


def set_matrix(layer: Layer, matrix: Tensor) -> None:
    """Copies a matrix like `matrix_of`'s into the layer's weight."""
    kernel = layer.weight.shape[2:]
    layer.weight.copy_(matrix.reshape(len(matrix), *kernel, -1).movedim(-1, 1))


def n_groups(layer: nn.Module) -> int:
    """Convolution groups; 1 for a linear layer."""
    return layer.groups if isinstance(layer, _ConvNd) else 1
