"""How tensors lie in memory, and the number format, that this processor computes fastest with."""

import torch
from torch import Tensor, nn


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def arranged(module: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """Puts the weights into a memory format, in place."""
    return module.to(memory_format=memory_format)  # type: ignore[no-any-return, call-overload]  # left out of its stubs


def channels_last(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The same tensors, images with their channels side by side in memory."""
    return tuple(t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for t in tensors)
