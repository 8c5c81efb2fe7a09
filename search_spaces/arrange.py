"""How tensors lie in memory, and the number format, that this processor computes fastest with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, backends, nn

N_COLUMNS = 192
"""Of a product that are worked out at once. Of 6,144 rows of 576 it takes .6 to .8 of the time that all at once do."""


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def arranged(module: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """Puts the weights into a memory format, in place."""
    return module.to(memory_format=memory_format)  # type: ignore[no-any-return, call-overload]  # left out of its stubs


def channels_last(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The same tensors, images with their channels side by side in memory."""
    return tuple(t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for t in tensors)


def product(left: Tensor, right: Tensor, rounded: bool) -> Tensor:
    """Products of matrices, one for each convolution group.

    Args:
        left: (n_groups, i, k).
        right: (n_groups, k, j).
        rounded: round the factors to bfloat16 (and still add up in float32) where there is one group; several at once
            are faster as they are.

    Returns:
        (n_groups, i, j).
    """
    if len(left) > 1:
        return left @ right
    with _rounded_factors(rounded):
        return (left[0] @ right[0])[None]


def squares(rows: Tensor, rounded: bool) -> Tensor:
    """Products of matrices with themselves, rows.T @ rows, one for each convolution group.

    Args:
        rows: (n_groups, n, k).
        rounded: see `product`.

    Returns:
        (n_groups, k, k).
    """
    if len(rows) > 1:
        return rows.transpose(1, 2) @ rows
    x = rows[0]
    found = x.new_empty(x.shape[1], x.shape[1])
    with _rounded_factors(rounded):
        for start in range(0, x.shape[1], N_COLUMNS):  # below the diagonal it is what it is above
            end = start + N_COLUMNS
            part = x[:, :end].T @ x[:, start:end]
            found[:end, start:end], found[start:end, :start] = part, part[:start].T
    return found[None]


@contextmanager
def _rounded_factors(enabled: bool) -> Iterator[None]:
    setting = backends.mkldnn.matmul  # type: ignore[attr-defined]  # left out of its stubs
    before = setting.fp32_precision
    if enabled:
        setting.fp32_precision = "bf16"
    try:
        yield
    finally:
        setting.fp32_precision = before
