"""Fewer channels in a coupled group."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from search_spaces.coupling import ChannelGroup, keep_map
from search_spaces.recipe import Choice, Kind, Site
from search_spaces.slicing import slice_modules
from search_spaces.transform import Student, Transform

FRACTIONS = (0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.1875, 0.125, 0.0625)


def widths(n_channels: int, n_units: int) -> tuple[int, ...]:
    """The widths on offer, the full one first: on steps of 8, 4 below 32 channels, or single units below 8.

    Hardware computes in vectors, so a width between two steps costs as much as the wider one.
    """
    unit = n_channels // n_units
    step = 8 if n_channels >= 32 else 4 if n_channels >= 8 else 1
    step = max(1, step // unit) * unit
    rounded = [max(step, round(n_channels * fraction / step) * step) for fraction in FRACTIONS]
    if n_channels >= 32:
        rounded.append(max(unit, 4 // unit * unit))
    return (n_channels, *sorted({width for width in rounded if width < n_channels}, reverse=True))


@dataclass(frozen=True, eq=False)
class Channels(Transform):
    """Removes channels in the order that `removal_order` found; what is kept at one width is kept at every wider one.

    Attributes:
        teacher: the module the groups were found in.
        groups: by site name.
        orders: by site name, (n_units,) units in the order in which they go.
    """

    teacher: nn.Module
    groups: Mapping[str, ChannelGroup]
    orders: Mapping[str, NDArray[np.int64]]
    kind: Kind = "channels"

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(
            Site(name, self.kind, widths(group.n_channels, group.n_units))
            for name, group in self.groups.items()
            if len(widths(group.n_channels, group.n_units)) > 1
        )

    def units(self, name: str, width: int) -> NDArray[np.int64]:
        """Sorted units of a site that stay at a width."""
        group = self.groups[name]
        n_kept = width * group.n_units // group.n_channels
        return np.sort(self.orders[name][group.n_units - n_kept :])

    def change(self, student: Student, choices: Mapping[str, Choice]) -> Student:
        kept = {self.groups[name]: self.units(name, int(width)) for name, width in choices.items()}
        keeps = keep_map(kept, self.teacher)
        present = {path for path, _ in student.module.named_modules()}
        idle = {
            f"channels:{group.root}": "every layer that it would cut is in a dropped block"
            for group in kept
            if present.isdisjoint(member.module for member in group.members)
        }
        slice_modules(student.module, keeps)
        return replace(student, keeps=keeps, without_effect={**student.without_effect, **idle})
