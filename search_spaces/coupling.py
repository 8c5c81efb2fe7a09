"""Which channels must be cut together: those that reach the same features of some layer.

`tracing.py` finds what each channel reaches; whatever is connected that way makes a unit. Tracing may be wrong about
a network that treats channels by number, so nothing of it is believed: `verify` keeps a group only where cutting half
of it gives exactly what zeroing the same channels at their consumers gives.
"""

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd

from search_spaces.sharing import shares_weights
from search_spaces.slicing import SLICEABLE, Keep, n_features, slice_modules
from search_spaces.tracing import Axis, Side, Trace, trace_channels

Feature = tuple[str, Side, int]
Unit = dict[Axis, list[int]]
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
        The groups that can be cut, in the order in which their roots run, and those that cannot with the reason.
    """
    try:
        traces = trace_channels(teacher, example)
    except _TRACING_ERRORS as error:
        return [], [Unprunable("(whole network)", f"its channels cannot be traced ({first_line(error)})")]
    candidates = _candidates(teacher, traces)
    together = [found for found in candidates if isinstance(found, ChannelGroup)]
    # All at once first: as a rule nothing is wrong, and a group that is shows among others too.
    agree = len(together) > 1 and verify(teacher, together, example) is None
    groups: dict[str, ChannelGroup] = {}
    refused: dict[Unprunable, None] = {}
    for found in candidates:
        if isinstance(found, ChannelGroup):
            mismatch = None if agree else verify(teacher, [found], example)
            if not mismatch and found.root not in groups:
                groups[found.root] = found
                continue
            found = Unprunable(found.root, mismatch or "its channels do not all go the same way")
        refused[found] = None
    return list(groups.values()), list(refused)


def _candidates(teacher: nn.Module, traces: Mapping[str, Trace]) -> list[ChannelGroup | Unprunable]:
    """The groups that the traces show, not yet verified."""
    problems = _problems(teacher, traces)
    found: list[ChannelGroup | Unprunable] = []
    for units in _alike(_units(teacher, traces), traces):
        root = next(path for path in traces if (path, "out") in units[0])
        problem = next((problems[axis] for axis in units[0] if axis in problems), None)
        found.append(Unprunable(root, problem) if problem else _group(root, units))
    return found


def _problems(teacher: nn.Module, traces: Mapping[str, Trace]) -> dict[Axis, str]:
    """By axis, why none of its features may be cut."""
    layers = {path: f"{path} shares its weights with another layer" for path in shares_weights(teacher)}
    for path, module in teacher.named_modules():
        if isinstance(module, SLICEABLE) and "weight" not in module._parameters:
            layers[path] = f"the weight of {path} is computed from other parameters"
    sides: tuple[Side, Side] = ("in", "out")
    axes: dict[Axis, str] = {(path, side): problem for path, problem in layers.items() for side in sides}
    return {(path, "out"): trace.problem for path, trace in traces.items() if trace.problem} | axes


def _units(teacher: nn.Module, traces: Mapping[str, Trace]) -> list[Unit]:
    """The smallest sets of features that can only go together: connected components of what the traces connect."""
    parents: dict[Feature, Feature] = {}

    def find(feature: Feature) -> Feature:
        parent = parents.setdefault(feature, feature)
        while parent != feature:
            parents[feature] = parents.setdefault(parent, parent)
            feature, parent = parent, parents[parent]
        return feature

    for path, trace in traces.items():
        for channel in range(trace.n_channels):
            find((path, "out", channel))
        for (other, side), pairs in trace.hits.items():
            for feature, channel in pairs:
                parents[find((other, side, feature))] = find((path, "out", channel))
    for path in traces:
        layer = teacher.get_submodule(path)
        if not isinstance(layer, _ConvNd) or layer.groups == 1:
            continue
        sides: tuple[Side, Side] = ("in", "out")
        for side in sides:
            n_inner = n_features(layer, side) // layer.groups
            for index in range(n_inner, n_features(layer, side)):  # every group keeps the same ones of its own
                parents[find((path, side, index))] = find((path, side, index % n_inner))
    units: dict[Feature, Unit] = defaultdict(lambda: defaultdict(list))
    for path, side, index in sorted(parents):
        units[find((path, side, index))][path, side].append(index)
    return list(units.values())


def _alike(units: Iterable[Unit], traces: Mapping[str, Trace]) -> list[list[Unit]]:
    """Units that touch the same axes in the same way, together; in the order in which their first layers run."""
    order = {path: position for position, path in enumerate(traces)}
    alike: dict[tuple[tuple[Axis, int], ...], list[Unit]] = defaultdict(list)
    for unit in units:
        if any(side == "out" and path in order for path, side in unit):
            alike[tuple((axis, len(indices)) for axis, indices in unit.items())].append(unit)

    def first(same: list[Unit]) -> tuple[int, int]:
        made = ((path, indices[0]) for (path, side), indices in same[0].items() if side == "out" and path in order)
        return min((order[path], index) for path, index in made)

    return sorted(alike.values(), key=first)


def _group(root: str, units: list[Unit]) -> ChannelGroup | Unprunable:
    axes = list(units[0])
    if len(units) < 2:
        return Unprunable(root, "other layers mix its channels (a normalisation or a sum over channels, for instance)")
    if not any(side == "in" for _, side in axes):
        return Unprunable(root, "no layer reads its channels")
    ordered = sorted(units, key=lambda unit: unit[root, "out"])
    members = tuple(Member(*axis, np.array([unit[axis] for unit in ordered], dtype=np.int64)) for axis in axes)
    return ChannelGroup(root, len(units) * len(units[0][root, "out"]), len(units), members)


def first_line(error: Exception) -> str:
    """An error's message up to the first line break; its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


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
def verify(teacher: nn.Module, groups: Sequence[ChannelGroup], example: tuple[Tensor, ...]) -> str | None:
    """Cuts half of each group's units and compares with zeroing them at the consumers.

    Returns:
        None where both agree to rounding, otherwise what went wrong.
    """
    masked: dict[str, Tensor] = {}
    for member, n_units in ((member, group.n_units) for group in groups for member in group.consumers):
        gone = np.arange(1, n_units, 2)
        layer = teacher.get_submodule(member.module)
        assert isinstance(layer.weight, Tensor)
        weight = masked.setdefault(f"{member.module}.weight", layer.weight.detach().clone())
        columns = torch.from_numpy(member.features[gone].ravel())
        if isinstance(layer, _ConvNd) and layer.groups > 1:
            width = weight.shape[1]
            per_group = weight.shape[0] // layer.groups
            for column in columns.tolist():
                block = column // width
                weight[block * per_group : (block + 1) * per_group, column % width] = 0
        else:
            weight[:, columns] = 0
    try:
        cut = copy.deepcopy(teacher)
        slice_modules(cut, keep_map({group: np.arange(0, group.n_units, 2) for group in groups}, teacher))
        got, wanted = cut(*example), functional_call(teacher, masked, example)
    except _TRACING_ERRORS as error:
        return f"the network does not run with fewer channels there ({first_line(error)})"
    if not isinstance(got, Tensor) or got.shape != wanted.shape:
        return "cutting it changes the shape of the network's output"
    scale = float(wanted.abs().max()) + 1e-12
    if not bool(torch.isfinite(got).all()) or float((got - wanted).abs().max()) > 1e-3 * scale:
        return "other layers mix its channels (a normalisation or a product over channels, for instance)"
    return None
