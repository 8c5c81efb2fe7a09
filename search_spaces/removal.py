"""In what order a group's channels go: optimal brain surgeon on channels, over all their consumers at once.

Removing a unit zeroes its columns in every consumer's weight matrix; the remaining columns are refitted in closed
form over the Gram matrix of the consumer's inputs. One greedy pass gives every width, nested. Frantar and Alistarh,
"Optimal Brain Compression" (2022), section 4; structured as in Kurtic et al., "ZipLM" (2023), section 3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from search_spaces.coupling import ChannelGroup
from search_spaces.statistics import n_groups

MAX_FEATURES = 4096
"""Above this a consumer's Gram matrix is taken block by block: inverting it would cost more than the search."""
DAMPING = 1e-2
"""Ridge, as a share of the Gram matrix's mean diagonal."""


@dataclass(frozen=True, eq=False)
class Consumer:
    """One least-squares problem: outputs = inputs @ weight.T.

    Attributes:
        weight: (n_outputs, n_features).
        gram: (n_features, n_features), mean over rows of the outer product of the inputs.
        columns: (n_units, k) features that go with each unit.
    """

    weight: Tensor
    gram: Tensor
    columns: NDArray[np.int64]


def consumers_of(group: ChannelGroup, teacher: nn.Module, grams: Mapping[str, Tensor]) -> list[Consumer]:
    """The group's consumers as least-squares problems; a grouped convolution gives one for each of its groups.

    Args:
        group: found in `teacher`.
        teacher: the network.
        grams: layer path to Gram matrix, (n_conv_groups, n_features, n_features).
    """
    problems = []
    for member in group.consumers:
        if member.module not in grams:
            continue
        layer = teacher.get_submodule(member.module)
        weight = layer.weight
        assert isinstance(weight, Tensor)
        n_kernel = weight[0, 0].numel()
        groups = n_groups(layer)
        n_inputs = weight.shape[1]
        for index in range(groups):
            inside = member.features // n_inputs == index
            if not inside.any():
                continue
            local = member.features[inside].reshape(group.n_units, -1) - index * n_inputs
            columns = (local[:, :, None] * n_kernel + np.arange(n_kernel)).reshape(group.n_units, -1)
            rows = weight.detach().flatten(1).chunk(groups)[index]
            problems.append(Consumer(rows, grams[member.module][index], columns))
    return problems


@torch.no_grad()
def removal_order(consumers: Sequence[Consumer], n_units: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Greedy order of removal.

    Args:
        consumers: at least one; their losses are added as shares of each consumer's output energy.
        n_units: of the group.

    Returns:
        order: (n_units,) the first removed first, and losses: (n_units,) share of the consumers' output energy that
        is lost (after the refit) when order[: i + 1] are gone.
    """
    states = [_State(consumer) for consumer in consumers]
    alive = np.arange(n_units)
    order: list[int] = []
    losses: list[float] = []
    total = 0.0
    while len(alive):
        scores = sum((state.scores(alive) for state in states), torch.zeros(len(alive), dtype=torch.float64))
        n_now = max(1, len(alive) // 16)
        for position in torch.argsort(scores, stable=True)[:n_now].tolist():
            unit = int(alive[position])
            total += sum(float(state.scores(np.array([unit]))[0]) for state in states)
            for state in states:
                state.remove(unit)
            order.append(unit)
            losses.append(total / len(states))
        alive = np.setdiff1d(alive, order)
    return np.array(order), np.array(losses)


class _State:
    """Weights and inverse Gram matrix of one consumer while units go."""

    def __init__(self, consumer: Consumer) -> None:
        gram = consumer.gram.double()
        weight = consumer.weight.double().clone()
        energy = float(((weight @ gram) * weight).sum()) + 1e-30
        self.scale = 1 / energy
        self.weight = weight
        self.columns = torch.from_numpy(consumer.columns)
        damping = DAMPING * float(gram.diagonal().mean()) + 1e-12
        self.gram = gram + damping * torch.eye(len(gram), dtype=torch.float64)
        self.inverse = None
        if len(gram) <= MAX_FEATURES:
            self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(self.gram))

    def scores(self, units: NDArray[np.int64]) -> Tensor:
        """(n,) share of the output energy lost with each of the units."""
        columns = self.columns[torch.from_numpy(units)]
        rows = columns[:, :, None], columns[:, None, :]
        blocks = self.gram[rows] if self.inverse is None else torch.linalg.inv(self.inverse[rows])
        weight = self.weight[:, columns].permute(1, 0, 2)
        return torch.einsum("uoi,uij,uoj->u", weight, blocks, weight) * self.scale

    def remove(self, unit: int) -> None:
        """Zeroes the unit's columns and refits the others."""
        columns = self.columns[unit]
        if self.inverse is None:
            self.weight[:, columns] = 0
            return
        across = self.inverse[columns]
        solved = torch.linalg.solve(across[:, columns], across)
        self.weight -= self.weight[:, columns] @ solved
        self.inverse -= across.T @ solved
        self.weight[:, columns] = 0
        self.inverse[columns] = 0
        self.inverse[:, columns] = 0
        self.inverse[columns, columns] = 1
