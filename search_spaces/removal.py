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
AT_ONCE = 8
"""An eighth of the units that are left go before the scores are worked out anew."""


@dataclass(frozen=True, eq=False)
class Consumer:
    """One least-squares problem: outputs = inputs @ weight.T.

    Attributes:
        weight: (n_outputs, n_features).
        gram: (n_features, n_features), mean over rows of the outer product of the inputs.
        columns: (n_units, k) features that go with each unit.
        path: of the layer.
        first_output: of the layer's outputs, the one that the first row of the weight makes.
    """

    weight: Tensor
    gram: Tensor
    columns: NDArray[np.int64]
    path: str = ""
    first_output: int = 0


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
            gram = grams[member.module][index]
            problems.append(Consumer(rows, gram, columns, member.module, index * len(rows)))
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
    alive = torch.arange(n_units)
    order: list[Tensor] = []
    losses: list[Tensor] = []
    while len(alive):
        scores = torch.stack([state.scores() for state in states]).sum(0)
        n_now = max(1, len(alive) // AT_ONCE)
        ranked = torch.argsort(scores, stable=True)
        gone, kept = ranked[:n_now], ranked[n_now:].sort()[0]
        order.append(alive[gone])
        losses.append(torch.stack([state.remove(gone, kept) for state in states]).mean(0))
        alive = alive[kept]
    return torch.cat(order).numpy(), torch.cat(losses).cumsum(0).numpy()


class _State:
    """Weights and inverse Gram matrix of one consumer; both shrink as units go.

    Columns lie unit by unit, those that belong to no unit behind them.
    """

    def __init__(self, consumer: Consumer) -> None:
        gram, weight = consumer.gram.double(), consumer.weight.double()
        self.scale = 1 / (float(((weight @ gram) * weight).sum()) + 1e-30)
        self.n_units, self.width = consumer.columns.shape
        own = torch.from_numpy(consumer.columns.ravel())
        others = torch.ones(len(gram), dtype=torch.bool)
        others[own] = False
        columns = torch.cat([own, others.nonzero().flatten()])
        damping = DAMPING * float(gram.diagonal().mean()) + 1e-12
        self.weight, self.gram = weight[:, columns], gram[columns][:, columns]
        self.gram.diagonal().add_(damping)
        self.inverse = None
        if len(gram) <= MAX_FEATURES:
            self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(self.gram))

    def scores(self) -> Tensor:
        """(n_units,) share of the output energy lost with each of the units that are left."""
        n = self.n_units * self.width
        matrix = self.gram if self.inverse is None else self.inverse
        blocks = matrix[:n, :n].view(self.n_units, self.width, self.n_units, self.width)
        blocks = blocks.diagonal(dim1=0, dim2=2).permute(2, 0, 1)  # (units, width, width)
        weight = self.weight[:, :n].view(-1, self.n_units, self.width).permute(1, 2, 0)  # (units, width, outputs)
        solved: Tensor = blocks @ weight if self.inverse is None else torch.linalg.solve(blocks, weight)
        return (weight * solved).sum((1, 2)) * self.scale

    def remove(self, gone: Tensor, kept: Tensor) -> Tensor:
        """Drops units one after the other and refits the columns that are left.

        Args:
            gone: (n,) units in the order in which they go.
            kept: the others, sorted.

        Returns:
            (n,) share of the output energy that is lost with each, after those before it.
        """
        out = self._columns(gone)
        left = torch.cat([self._columns(kept), torch.arange(self.n_units * self.width, self.weight.shape[1])])
        weight = self.weight[:, left]
        if self.inverse is None:
            lost = self.scores()[gone]
            self.gram = self.gram[left][:, left]
        else:
            # By Cholesky, row after row: what each unit loses is what it adds to the squares.
            factor = torch.linalg.cholesky(self.inverse[out][:, out])
            moved = torch.linalg.solve_triangular(factor, self.weight[:, out].T, upper=False)
            across = torch.linalg.solve_triangular(factor, self.inverse[out][:, left], upper=False)
            lost = moved.square().reshape(len(gone), -1).sum(1) * self.scale
            weight.addmm_(moved.T, across, alpha=-1)
            self.inverse = self.inverse[left][:, left].addmm_(across.T, across, alpha=-1)
        self.weight, self.n_units = weight, len(kept)
        return lost

    def _columns(self, units: Tensor) -> Tensor:
        columns: Tensor = units[:, None] * self.width + torch.arange(self.width)
        return columns.flatten()
