"""Stochastic gradient descent with Nesterov's momentum.

torch.optim's does the same, but making one imports torch's compiler: two to three CPU seconds that a short search
needs for training.
"""

from typing import final

import torch
from torch import Tensor, nn

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
"""Of weights; biases and normalisation are not decayed."""
LARGEST_NORM = 5.0
"""Longer gradients are shortened to this (Pascanu et al. 2013)."""


@final
class Descent:
    """Changes a module's parameters in place (Sutskever et al. 2013, as torch.optim.SGD does it).

    Args:
        module: every parameter that wants a gradient is trained.
    """

    def __init__(self, module: nn.Module) -> None:
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._momenta = [torch.zeros_like(parameter) for parameter in self._parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step along the gradients, which are used up.

        Args:
            rate: learning rate.
        """
        pairs = [(p, p.grad, m) for p, m in zip(self._parameters, self._momenta, strict=True) if p.grad is not None]
        if not pairs:
            return
        gradients = [gradient for _, gradient, _ in pairs]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, float((LARGEST_NORM / (norm + 1e-6)).clamp(max=1.0)))
        decayed = [(gradient, parameter) for parameter, gradient, _ in pairs if parameter.ndim > 1]
        if decayed:
            torch._foreach_add_([g for g, _ in decayed], [p for _, p in decayed], alpha=WEIGHT_DECAY)
        momenta = [momentum for _, _, momentum in pairs]
        torch._foreach_mul_(momenta, MOMENTUM)
        torch._foreach_add_(momenta, gradients)
        torch._foreach_add_(gradients, momenta, alpha=MOMENTUM)
        torch._foreach_add_([parameter for parameter, _, _ in pairs], gradients, alpha=-rate)
        for parameter in self._parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, list[Tensor]]:
        """The momenta, in the order of the parameters."""
        return {"momenta": self._momenta}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Takes over what `state_dict` gave."""
        for own, saved in zip(self._momenta, state["momenta"], strict=True):
            own.copy_(saved)
