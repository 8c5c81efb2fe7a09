"""Handwritten digits among clutter: rotated, scaled, shifted, pieces of other digits pasted in, shaded, noisy.

The idea of "cluttered MNIST" (Mnih et al. 2014, "Recurrent models of visual attention", section 4.1), harder. Every
random number comes from one generator in a fixed order, so the same seed gives the same images bit for bit.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

SIZE = 32
MAX_TURN_DEGREES, MAX_SCALING, MAX_SHIFT_PIXELS = 15, 0.15, 3
N_PIECES, PIECE = 5, 8
MEAN, DEVIATION = 0.30, 0.30


def render(digits: Tensor, pool: Tensor, generator: torch.Generator) -> Tensor:
    """One rendering of each digit, as inputs of the network.

    Args:
        digits: (n, 1, 32, 32) in 0..1.
        pool: (m, 1, 32, 32) in 0..1, the digits that pieces are cut from.
        generator: of everything random.

    Returns:
        (n, 1, 32, 32), normalised.
    """
    n = len(digits)
    images = _moved(digits, generator)
    images = images * (0.6 + 0.4 * torch.rand(n, 1, 1, 1, generator=generator))
    for _ in range(N_PIECES):
        _paste(images, pool, generator)
    coarse = torch.rand(n, 1, 4, 4, generator=generator)
    shade = functional.interpolate(coarse, SIZE, mode="bilinear", align_corners=False)
    images = images + 0.35 * shade + 0.12 * torch.randn(images.shape, generator=generator)
    return (images - MEAN) / DEVIATION


def _moved(digits: Tensor, generator: torch.Generator) -> Tensor:
    """Each digit turned, scaled and shifted by its own amounts."""
    n = len(digits)

    def between(limit: float, *shape: int) -> Tensor:
        return (torch.rand(n, *shape, generator=generator) * 2 - 1) * limit

    # The operations in this order: another order of rounding would move single bits.
    angle = (torch.rand(n, generator=generator) * 2 - 1) * MAX_TURN_DEGREES * math.pi / 180
    scale = 1 + between(MAX_SCALING)
    shift = between(MAX_SHIFT_PIXELS, 2) / (SIZE / 2)
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    rows = (torch.stack([cosine, -sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1))
    grid = functional.affine_grid(torch.stack(rows, 1), list(digits.shape), align_corners=False)
    return functional.grid_sample(digits, grid, align_corners=False)


def _paste(images: Tensor, pool: Tensor, generator: torch.Generator) -> None:
    """A piece of some digit of the pool into each image, in place, the brighter of the two at each pixel."""
    n = len(images)

    def corners(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (n,), generator=generator)

    source = pool[torch.randint(len(pool), (n,), generator=generator)]
    from_y, from_x = corners(6, 18), corners(6, 18)
    to_y, to_x = corners(0, SIZE - PIECE), corners(0, SIZE - PIECE)
    steps, each = torch.arange(PIECE), torch.arange(n)[:, None, None]
    piece = source[each, 0, (from_y[:, None] + steps)[:, :, None], (from_x[:, None] + steps)[:, None, :]]
    piece = piece * (0.2 + 0.5 * torch.rand(n, 1, 1, generator=generator))
    y, x = (to_y[:, None] + steps)[:, :, None], (to_x[:, None] + steps)[:, None, :]
    images[each, 0, y, x] = torch.maximum(images[each, 0, y, x], piece)
