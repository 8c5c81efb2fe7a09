"""What students are trained with: Muon for the kernels of convolutions, descent with momentum for all else.

torch.optim has both, but making one of its optimisers imports torch's compiler: two to three CPU seconds that a short
search needs for training. Its Muon also takes matrices alone.
"""

from typing import final

import torch
from torch import Tensor, nn

from search_spaces.arrange import has_bfloat16

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
"""Of matrices in descent; biases and normalisation are not decayed."""
LARGEST_NORM = 5.0
"""Longer gradients are shortened to this (Pascanu et al. 2013)."""
KERNEL_RATE = 1 / 3
"""Share of its own length that a kernel moves by, for each unit of the learning rate."""
SHORTEST = 0.01
"""Length of a kernel over the root of its output channels: shorter ones count as this long, so that zeros can move."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
N_ITERATIONS = 5
"""Of Newton and Schulz: singular values end between 0.7 and 1.2 (Jordan et al. 2024)."""
WIDE = 64
"""Rows from which products in bfloat16 are faster than in float32, where the machine has them."""


@final
class Descent:
    """Changes a module's parameters in place.

    Kernels of ungrouped convolutions move along their momentum with all its singular values made one (Muon: Jordan et
    al. 2024), by a share of their own length (You et al. 2017): which sizes their gradients have no longer matters.
    Other parameters follow stochastic gradient descent with Nesterov's momentum (Sutskever et al. 2013, as
    torch.optim.SGD does it); a matrix that sees each input once would pay more for its singular values than for its
    gradient.

    Args:
        module: every parameter that wants a gradient is trained.
    """

    def __init__(self, module: nn.Module) -> None:
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._momenta = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._kernels = {
            id(layer.weight)
            for layer in module.modules()
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and layer.groups == 1
        }

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step along the gradients, which are used up.

        Args:
            rate: learning rate.
        """
        together = zip(self._parameters, self._momenta, strict=True)
        moved = [(parameter, momentum) for parameter, momentum in together if parameter.grad is not None]
        _descend([pair for pair in moved if id(pair[0]) not in self._kernels], rate)
        _turn([pair for pair in moved if id(pair[0]) in self._kernels], KERNEL_RATE * rate)
        for parameter in self._parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, list[Tensor]]:
        """The momenta, in the order of the parameters."""
        return {"momenta": self._momenta}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Takes over what `state_dict` gave."""
        for own, saved in zip(self._momenta, state["momenta"], strict=True):
            own.copy_(saved)


def _descend(moved: list[tuple[Tensor, Tensor]], rate: float) -> None:
    """A step of gradient descent for parameters and their momenta."""
    if not moved:
        return
    parameters, momenta = [parameter for parameter, _ in moved], [momentum for _, momentum in moved]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, float((LARGEST_NORM / (norm + 1e-6)).clamp(max=1.0)))
    decayed = [(g, p) for g, p in zip(gradients, parameters, strict=True) if p.ndim > 1]
    if decayed:
        torch._foreach_add_([g for g, _ in decayed], [p for _, p in decayed], alpha=WEIGHT_DECAY)
    _accumulate(momenta, gradients)
    torch._foreach_add_(parameters, gradients, alpha=-rate)


def _turn(moved: list[tuple[Tensor, Tensor]], rate: float) -> None:
    """A step of Muon for kernels and their momenta; those of one shape at once."""
    gradients = [parameter.grad for parameter, _ in moved if parameter.grad is not None]
    if not gradients:
        return
    _accumulate([momentum for _, momentum in moved], gradients)
    shapes: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
    for (kernel, _), gradient in zip(moved, gradients, strict=True):
        shapes.setdefault(kernel.shape, []).append((kernel, gradient))
    for shape, pairs in shapes.items():
        directions = orthogonalised(torch.stack([gradient.flatten(1) for _, gradient in pairs]))
        shortest = SHORTEST * shape[0] ** 0.5
        for (kernel, _), direction in zip(pairs, directions, strict=True):
            length = float(kernel.norm().clamp(min=shortest) / direction.norm().clamp(min=1e-6))
            kernel.sub_(direction.reshape(shape), alpha=rate * length)


def _accumulate(momenta: list[Tensor], gradients: list[Tensor]) -> None:
    """Adds gradients to their momenta and makes them what Nesterov's step goes along, both in place."""
    torch._foreach_mul_(momenta, MOMENTUM)
    torch._foreach_add_(momenta, gradients)
    torch._foreach_add_(gradients, momenta, alpha=MOMENTUM)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices with the same singular vectors, and singular values near one: five iterations of Newton and Schulz.

    Args:
        matrices: (n, rows, columns).
    """
    first, third, fifth = COEFFICIENTS
    is_wide = min(matrices.shape[1:]) >= WIDE and has_bfloat16()
    is_tall = matrices.shape[1] > matrices.shape[2]
    found = matrices.mT if is_tall else matrices
    found = found / torch.linalg.matrix_norm(found, keepdim=True).clamp(min=1e-12)
    found = found.bfloat16() if is_wide else found
    for _ in range(N_ITERATIONS):
        square = found @ found.mT
        found = torch.baddbmm(found, third * square + fifth * (square @ square), found, beta=first)
    return (found.mT if is_tall else found).float()
