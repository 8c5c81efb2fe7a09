"""Which channels must be cut together: torch-pruning's dependency graph behind guards.

torch-pruning can be a silent no-op, follow a wrong index or crash on a hard-coded view. So nothing of it is believed:
its groups are only proposals, the cutting is our own (`slicing.py`), and `verify` keeps a group only where cutting
it gives exactly what zeroing the same channels at their consumers gives.
"""

import copy
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch_pruning
from numpy.typing import NDArray
from torch import Tensor, nn

from search_spaces.sharing import shares_weights
from search_spaces.slicing import SLICEABLE, Keep, is_depthwise, n_features, slice_modules

Side = Literal["in", "out"]
_TRACING_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError, AssertionError)


@dataclass(frozen=True, eq=False)
class Member:
    """One axis of one module that a group cuts.

    Attributes:
        module: path in the teacher.
        side: `out` for what makes or carries the channels, `in` for what consumes them.
        features: (n_units, k) indices on that axis that go with each unit.
    """

    module: str
    side: Side
    features: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that can only be removed together, in units.

    Attributes:
        root: path of the first module that makes them.
        n_channels: of the root in this group.
        n_units: a unit is one channel, or one channel of each group of a grouped convolution.
        members: every axis that a unit takes features from.
    """

    root: str
    n_channels: int
    n_units: int
    members: tuple[Member, ...]

    @property
    def consumers(self) -> tuple[Member, ...]:
        """The members that sum over the channels."""
        return tuple(member for member in self.members if member.side == "in")


@dataclass(frozen=True)
class Unprunable:
    """A group that is left alone, and why."""

    root: str
    reason: str


def coupled_groups(teacher: nn.Module, example: tuple[Tensor, ...]) -> tuple[list[ChannelGroup], list[Unprunable]]:
    """Finds the teacher's channel groups; each returned group has been verified.

    Args:
        teacher: in eval mode; not modified.
        example: one input tensor for each argument of `forward`, batch axis first.

    Returns:
        The groups that can be cut, and those that cannot with the reason.
    """
    model = copy.deepcopy(teacher).eval()
    model.requires_grad_(True)  # torch-pruning finds nothing in a frozen model, without a word
    paths = {module: path for path, module in model.named_modules()}
    groups: list[ChannelGroup] = []
    refused: list[Unprunable] = []
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            graph = torch_pruning.DependencyGraph().build_dependency(model, example, verbose=False)
            proposals = list(graph.get_all_groups())
    except _TRACING_ERRORS as error:
        return [], [Unprunable("(whole network)", f"torch-pruning cannot trace it: {first_line(error)}")]
    tied = shares_weights(model)
    for proposal in proposals:
        root = paths[proposal[0].dep.target.module]
        found = _read(proposal, root, paths, tied)
        if isinstance(found, ChannelGroup):
            problem = verify(teacher, found, example)
            found = Unprunable(root, problem) if problem else found
        if isinstance(found, ChannelGroup):
            groups.append(found)
        else:
            refused.append(found)
    return groups, refused


def _read(
    proposal: Iterable[object], root: str, paths: Mapping[nn.Module, str], tied: Set[str]
) -> ChannelGroup | Unprunable:
    """torch-pruning's group in our words."""
    features: dict[tuple[str, Side], dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    n_conv_groups = 1
    for item in proposal.items:  # type: ignore[attr-defined]
        module = item.dep.target.module
        if isinstance(module, nn.Parameter):
            return Unprunable(root, f"the parameter {item.dep.target.name} is used outside of any module")
        path = paths.get(module)
        if path is None:
            continue  # an operation without weights
        if not isinstance(module, SLICEABLE):
            return Unprunable(root, f"{path} is a {type(module).__name__}, which cannot be cut")
        if "weight" not in module._parameters:
            return Unprunable(root, f"the weight of {path} is computed from other parameters")
        if path in tied:
            return Unprunable(root, f"{path} shares its weights with another layer")
        if isinstance(module, nn.PReLU) and module.num_parameters == 1:
            continue
        is_in = item.dep.handler.__name__ == "prune_in_channels"
        side: Side = "in" if is_in and not _carries(module) else "out"
        if isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1 and not is_depthwise(module):
            n_conv_groups = max(n_conv_groups, module.groups)
        for index, root_index in zip(item.idxs, item.root_idxs, strict=True):
            features[path, side][root_index].add(index)
    n_channels = len(features[root, "out"])
    if n_channels % n_conv_groups or n_channels // n_conv_groups < 2:
        return Unprunable(root, f"{n_channels} channels cannot be cut evenly over {n_conv_groups} convolution groups")
    n_units = n_channels // n_conv_groups
    members = []
    for (path, side), by_root in features.items():
        rows = [sorted(set().union(*(by_root[u + k * n_units] for k in range(n_conv_groups)))) for u in range(n_units)]
        if len({len(row) for row in rows}) != 1:
            return Unprunable(root, f"the channels of {path} do not correspond evenly")
        if rows[0]:
            members.append(Member(path, side, np.array(rows, dtype=np.int64)))
    group = ChannelGroup(root, n_channels, n_units, tuple(members))
    if not group.consumers:
        return Unprunable(root, "its channels are the network's output")
    return group


def first_line(error: Exception) -> str:
    """An error's message up to the first line break; its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _carries(module: nn.Module) -> bool:
    """Whether a channel that goes in comes out as the same channel."""
    return is_depthwise(module) or not isinstance(module, nn.modules.conv._ConvNd | nn.Linear)


def keep_map(groups: Mapping[ChannelGroup, NDArray[np.int64]], teacher: nn.Module) -> dict[str, Keep]:
    """For every module that the removals touch, the indices that stay on each axis.

    Args:
        groups: group to the units that stay.
        teacher: the module the groups were found in.
    """
    removed: dict[tuple[str, Side], set[int]] = defaultdict(set)
    for group, units in groups.items():
        gone = np.setdiff1d(np.arange(group.n_units), units)
        for member in group.members:
            removed[member.module, member.side].update(member.features[gone].ravel().tolist())
    keeps: dict[str, Keep] = {}
    for path, side in removed:
        module = teacher.get_submodule(path)
        previous = keeps.get(path, Keep())
        indices = np.setdiff1d(np.arange(n_features(module, side)), sorted(removed[path, side]))
        keeps[path] = Keep(indices, previous.inputs) if side == "out" else Keep(previous.outputs, indices)
    return keeps


@torch.no_grad()
def verify(teacher: nn.Module, group: ChannelGroup, example: tuple[Tensor, ...]) -> str | None:
    """Cuts half of the group's units and compares with zeroing them at the consumers.

    Returns:
        None where both agree to rounding, otherwise what went wrong.
    """
    kept = np.arange(0, group.n_units, 2)
    gone = np.arange(1, group.n_units, 2)
    masked = copy.deepcopy(teacher).eval()
    for member in group.consumers:
        layer = masked.get_submodule(member.module)
        weight = layer.weight
        assert isinstance(weight, Tensor)
        columns = torch.from_numpy(member.features[gone].ravel())
        if isinstance(layer, nn.modules.conv._ConvNd) and layer.groups > 1:
            width = weight.shape[1]
            per_group = weight.shape[0] // layer.groups
            for column in columns.tolist():
                block = column // width
                weight[block * per_group : (block + 1) * per_group, column % width] = 0
        else:
            weight[:, columns] = 0
    try:
        cut = slice_modules(teacher, keep_map({group: kept}, teacher))
        got, wanted = cut(*example), masked(*example)
    except _TRACING_ERRORS as error:
        return f"the network does not run with fewer channels there ({first_line(error)})"
    if not isinstance(got, Tensor) or got.shape != wanted.shape:
        return "cutting it changes the shape of the network's output"
    scale = float(wanted.abs().max()) + 1e-12
    if not bool(torch.isfinite(got).all()) or float((got - wanted).abs().max()) > 1e-3 * scale:
        return "other layers mix its channels (a normalisation or a product over channels, for instance)"
    return None
