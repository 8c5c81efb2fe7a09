"""Closed-form repair of a student from calibration statistics; batch-norm re-estimation.

One forward pass over the calibration inputs refits every convolution and linear layer in the order in which they
run: each is given the weights that best reproduce, from the inputs it now really receives, what the teacher's layer
answered. So errors of layers before it (channels removed, blocks dropped, layers factorised) are compensated as far
as a linear map can. He et al., "Channel Pruning" (2017), section 3.2, applied to all consumers.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from search_spaces.arrange import arranged, channels_last, product, squares
from search_spaces.slicing import Keep
from search_spaces.statistics import (
    LAYERS,
    Layer,
    LayerRows,
    Statistics,
    input_rows,
    matrix_of,
    n_groups,
    output_size,
    set_matrix,
)

RIDGE = 0.1
"""Pull towards the inherited weights, as a share of the mean diagonal of the inputs' covariance, times features for
each row."""
UNCHANGED, UNCHANGED_ROUNDED = 1e-4, 4e-3
"""A layer whose answers differ from the teacher's by less than this share is left as it is; the second in bfloat16."""
LAST_FACTOR = "last"
"""Name of the child that answers for a factorised layer."""


@torch.no_grad()
def refit(student: nn.Module, statistics: Statistics, keeps: Mapping[str, Keep]) -> None:
    """Refits the student's layers in place.

    Args:
        student: in eval mode, built from the teacher that the statistics are of.
        statistics: of the teacher.
        keeps: which of the teacher's outputs each layer still makes.
    """
    handles = []
    for path, module in student.named_modules():
        source = path if path in statistics.rows else path.removesuffix(f".{LAST_FACTOR}")
        if isinstance(module, LAYERS) and source in statistics.rows:
            keep = keeps.get(source, Keep()).outputs
            refitting = _refit_hook(statistics.rows[source], keep, statistics.bfloat16)
            handles.append(module.register_forward_pre_hook(refitting))
    inputs = statistics.inputs
    if statistics.channels_last:
        inputs = channels_last(inputs)
        arranged(student, torch.channels_last)
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=statistics.bfloat16, cache_enabled=False):
            student(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        if statistics.channels_last:
            arranged(student, torch.contiguous_format)


def _refit_hook(rows: LayerRows, keep: object, bfloat16: bool) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, LAYERS)
        own = rows.on_grid_of(output_size(layer, args[0]))
        wanted = own.outputs if keep is None else own.outputs.index_select(1, torch.as_tensor(keep))
        seen = input_rows(layer, args[0], own.samples, own.positions).float()
        with torch.autocast("cpu", enabled=False):
            solve_layer(layer, seen, wanted, bfloat16)

    return hook


@torch.no_grad()
def solve_layer(layer: Layer, inputs: Tensor, wanted: Tensor, bfloat16: bool = False) -> None:
    """Sets the layer's weights to the ridge solution of inputs @ weight.T + bias = wanted.

    The ridge pulls towards the weights the layer has. A layer without a bias is fitted without one.

    Args:
        layer: changed in place.
        inputs: (n_rows, n_features), see `input_rows`.
        wanted: (n_rows, n_outputs).
        bfloat16: the inputs are rounded to it, and products may round too.
    """
    groups = n_groups(layer)
    matrix = matrix_of(layer)
    weight = matrix.view(groups, -1, matrix.shape[1])  # (g, o, f)
    x = inputs.view(len(inputs), groups, -1).transpose(0, 1)  # (g, n, f)
    y = wanted.reshape(len(wanted), groups, -1).transpose(0, 1)  # (g, n, o)
    if layer.bias is not None:
        x_mean, y_mean = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
        x, y = x - x_mean, y - y_mean
    residual = y - product(x, weight.transpose(1, 2), bfloat16)
    unchanged = UNCHANGED_ROUNDED if bfloat16 else UNCHANGED
    if float(residual.square().mean()) < unchanged**2 * float(y.square().mean()):
        return
    gram = squares(x, bfloat16) / len(inputs)
    cross = product(x.transpose(1, 2), residual, bfloat16) / len(inputs)
    ridge = RIDGE * x.shape[2] / x.shape[1] * gram.diagonal(dim1=1, dim2=2).mean(1) + 1e-8
    gram.diagonal(dim1=1, dim2=2).add_(ridge[:, None])
    factor, failed = torch.linalg.cholesky_ex(gram)
    if bool(failed.any()):
        return  # inputs without any variation: nothing to learn from them
    solved = weight + torch.cholesky_solve(cross, factor).transpose(1, 2)
    if not bool(torch.isfinite(solved).all()):
        return
    set_matrix(layer, solved.flatten(0, 1))
    if layer.bias is not None:
        layer.bias.copy_((y_mean - x_mean @ solved.transpose(1, 2)).flatten())


@torch.no_grad()
def reestimate_batch_norm(student: nn.Module, inputs: tuple[Tensor, ...], n_batch: int = 128) -> None:
    """Replaces running means and variances by those of the calibration inputs, in place.

    Args:
        student: left in eval mode.
        inputs: (n_samples, ...) each.
        n_batch: samples a pass; the statistics of the passes are averaged.
    """
    layers = [m for m in student.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not layers or len(inputs[0]) < 2:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain average over passes
        layer.train()
    n = len(inputs[0])
    for start in range(0, max(n - n_batch // 2, 1), n_batch):
        student(*(tensor[start : start + n_batch] for tensor in inputs))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


def has_layers(module: nn.Module) -> bool:
    """Whether there is a convolution or linear layer inside."""
    return any(isinstance(m, _ConvNd | nn.Linear) for m in module.modules())
