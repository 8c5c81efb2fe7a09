"""What becomes of one layer's weights under a choice, seen from its inputs: refitted in closed form over their Gram
matrix, and written as a weight of the layer's own shape, so that the rest of the network stays as it is."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search_spaces.ranks import factors_of

DAMPING = 1e-3
"""Ridge, as a share of the Gram matrix's mean diagonal."""


@torch.no_grad()
def without(weight: Tensor, gram: Tensor, gone: NDArray[np.int64]) -> Tensor:
    """The weight with some of its columns at zero and the others refitted.

    Args:
        weight: (n_outputs, n_features).
        gram: (n_features, n_features) of the inputs.
        gone: columns.
    """
    stays = torch.ones(len(gram), dtype=torch.bool)
    stays[torch.from_numpy(gone)] = False
    found = torch.zeros_like(weight)
    if bool(stays.any()):
        inner = _damped(gram[stays][:, stays], float(gram.diagonal().mean()))
        factor = torch.linalg.cholesky(inner)
        across = weight[:, ~stays] @ gram[~stays][:, stays]
        found[:, stays] = weight[:, stays] + torch.cholesky_solve(across.T, factor).T
    return found


@torch.no_grad()
def factorized(weight: Tensor, choice: str, gram: Tensor) -> Tensor:
    """The one weight (n_outputs, n_features) that a layer's factors multiply to, the last one refitted.

    Args:
        weight: of an ungrouped convolution or linear layer.
        choice: `method:fraction`, see `factorize`.
        gram: (n_features, n_features) of the inputs.
    """
    flat = weight.flatten(1)
    seen = _seen(weight, choice)
    inner = seen @ gram @ seen.T
    factor = torch.linalg.cholesky(_damped(inner, float(inner.diagonal().mean())))
    return torch.cholesky_solve((flat @ gram @ seen.T).T, factor).T @ seen


@torch.no_grad()
def lost_share(weight: Tensor, other: Tensor, gram: Tensor) -> float:
    """How far a layer's answers move with another weight, as a share of their energy."""
    off = weight - other
    return float((off @ gram * off).sum() / ((weight @ gram * weight).sum() + 1e-30))


def _seen(weight: Tensor, choice: str) -> Tensor:
    """(rank, n_features) what the factors before the last one see of the inputs; as `factorize` truncates."""
    n_out, n_in = weight.shape[:2]
    flat = weight.flatten(1)
    kernel = (weight.shape[2], weight.shape[3]) if weight.ndim == 4 else (1, 1)
    sizes = factors_of(choice, n_in, n_out, kernel)
    method = choice.partition(":")[0]
    if method == "svd":
        return _leading(flat, sizes[0].n_out).T @ flat
    if method == "tucker2":
        outer = _leading(flat, sizes[1].n_out)
        inner = _leading(weight.transpose(0, 1).flatten(1), sizes[1].n_in)
        core = torch.einsum("oihw,or,is->rshw", weight, outer, inner)
        return torch.einsum("rshw,is->rihw", core, inner).flatten(1)
    height, width = kernel
    rank = sizes[0].n_out
    vertical = _leading(weight.permute(1, 2, 0, 3).reshape(n_in * height, n_out * width), rank)
    seen = weight.new_zeros(rank, width, n_in, height, width)
    for column in range(width):  # the horizontal factor sees the vertical one at each of its taps
        seen[:, column, :, :, column] = vertical.T.reshape(rank, n_in, height)
    return seen.reshape(rank * width, -1)


def _leading(matrix: Tensor, rank: int) -> Tensor:
    """(n_rows, rank) the first left singular vectors."""
    vectors: Tensor = torch.linalg.eigh(matrix @ matrix.T).eigenvectors
    return vectors[:, -rank:]


def _damped(matrix: Tensor, scale: float) -> Tensor:
    return matrix + (DAMPING * scale + 1e-12) * torch.eye(len(matrix), dtype=matrix.dtype)
