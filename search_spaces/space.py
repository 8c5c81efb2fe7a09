"""The neighbourhood of a teacher: its sites, and the student of any recipe."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.arrange import has_bfloat16
from search_spaces.channels import Channels
from search_spaces.coupling import ChannelGroup, Unprunable, coupled_groups, first_line
from search_spaces.depth import Depth, residual_blocks
from search_spaces.factorize import Factorize
from search_spaces.precision import Precision
from search_spaces.recipe import Choice, Kind, Recipe, Site
from search_spaces.removal import consumers_of, removal_order
from search_spaces.repair import refit
from search_spaces.resolution import Resolution
from search_spaces.statistics import Layer, Statistics, collect, gram_of
from search_spaces.transform import Student, Transform

ORDER: tuple[Kind, ...] = ("depth", "resolution", "channels", "factorize", "precision")
"""In which the transforms are applied: what is dropped is not cut, what is cut is factorised as it stands."""


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """Sites of a teacher and how a recipe becomes a student.

    Attributes:
        teacher: in eval mode, never modified.
        statistics: of the teacher on the calibration inputs.
        transforms: in `ORDER`.
        unprunable: groups that are left alone, and why.
        blocked: site name to problem; recipes may not name these sites.
        grams: layer path to Gram matrix of its inputs, (n_conv_groups, n_features, n_features).
    """

    teacher: nn.Module
    statistics: Statistics
    transforms: Mapping[Kind, Transform]
    unprunable: tuple[Unprunable, ...] = ()
    blocked: Mapping[str, str] = field(default_factory=dict)
    grams: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def from_teacher(
        cls,
        teacher: nn.Module,
        calibration: tuple[Tensor, ...],
        generator: torch.Generator,
        kinds: Sequence[str] = ORDER,
        precisions: tuple[str, ...] = ("float32", "int8"),
        orders: Mapping[str, Sequence[int]] | None = None,
    ) -> "SearchSpace":
        """Finds the sites and, from one pass of calibration inputs, in what order channels go.

        Args:
            teacher: in eval mode.
            calibration: (n_samples, ...) for each input of the network; a few hundred samples.
            generator: draws the rows that the statistics keep.
            kinds: which transforms to offer.
            precisions: `float32` first.
            orders: channel site to the order in which its units go, from an earlier look at the same teacher; the
                same order gives the same students even where rounding would have decided otherwise.
        """
        grams: dict[str, Tensor] = {}

        def add_gram(path: str, layer: Layer, rows: Tensor) -> None:
            grams[path] = gram_of(layer, rows, has_bfloat16())

        statistics = collect(teacher, calibration, generator, add_gram)
        grams = {path: gram for path, gram in grams.items() if path in statistics.rows}
        example = tuple(tensor[:2] for tensor in calibration)
        groups, unprunable = coupled_groups(teacher, example) if "channels" in kinds else ([], [])
        channels = _channels(teacher, groups, grams, unprunable, orders or {})
        transforms: dict[Kind, Transform] = {
            "depth": Depth(tuple(residual_blocks(teacher, example))),
            "resolution": Resolution.of(teacher, example),
            "channels": channels,
            "factorize": Factorize.of(teacher),
            "precision": Precision(precisions),
        }
        offered = {kind: transforms[kind] for kind in ORDER if kind in kinds}
        space = cls(teacher, statistics, offered, tuple(unprunable))
        return replace(space, blocked=space._failing_sites(example), grams=grams)

    @classmethod
    def skeleton(cls, teacher: nn.Module, example: tuple[Tensor, ...]) -> "SearchSpace":
        """A space whose students have the right shapes and meaningless weights, for loading saved ones into.

        Args:
            teacher: in eval mode.
            example: at least two samples of each input, of any values.
        """
        return cls.from_teacher(teacher, example, torch.Generator().manual_seed(0))

    @property
    def orders(self) -> dict[str, list[int]]:
        """Channel site to the order in which its units go."""
        channels = self.transforms.get("channels")
        return {n: o.tolist() for n, o in channels.orders.items()} if isinstance(channels, Channels) else {}

    def thinned(self, n_samples: int, max_rows: int, generator: torch.Generator) -> "SearchSpace":
        """The same space with statistics of fewer samples and rows: students are repaired faster and less well."""
        inputs = tuple(tensor[:n_samples] for tensor in self.statistics.inputs)
        return replace(self, statistics=collect(self.teacher, inputs, generator, max_rows=max_rows))

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        """By name, in a stable order."""
        found = [site for transform in self.transforms.values() for site in transform.sites]
        return {site.name: site for site in found if site.name not in self.blocked}

    def build(self, recipe: Recipe, repair: bool = True) -> Student:
        """The student of a recipe, in eval mode.

        Args:
            recipe: of this space's sites.
            repair: refit the layers in closed form (`repair.refit`); without it the weights are plain slices.

        Raises:
            ValueError: a site or choice that this space does not have.
        """
        for name, choice in recipe.items():
            site = self.sites.get(name)
            if site is None or choice not in site.choices:
                raise ValueError(f"this teacher has no site {name} with the choice {choice!r}")
        student, is_changed = Student(copy.deepcopy(self.teacher)), False
        for kind, transform in self.transforms.items():
            names = {site.name for site in transform.sites}
            choices = {name: choice for name, choice in recipe.items() if name in names}
            if choices:
                student = transform.change(student, choices)
                is_changed = is_changed or kind != "precision"
        if repair and is_changed:
            refit(student.module, self.statistics, student.keeps)
        return student

    def sample(self, generator: np.random.Generator, share_changed: float = 0.7) -> Recipe:
        """A random recipe: each site is changed with this probability, to a choice drawn uniformly."""
        recipe = Recipe()
        for site in self.sites.values():
            if generator.random() < share_changed:
                recipe = recipe.replace(site, _draw(site.choices[1:], generator))
        return recipe

    def mutate(self, recipe: Recipe, generator: np.random.Generator, n_sites: int = 2) -> Recipe:
        """The recipe with other choices, next to the present ones, at a few random sites."""
        names = list(self.sites)
        for index in generator.choice(len(names), size=min(n_sites, len(names)), replace=False):
            site = self.sites[names[index]]
            position = site.choices.index(recipe.get(site.name, site.unchanged))
            near = [p for p in (position - 1, position + 1) if 0 <= p < len(site.choices)]
            recipe = recipe.replace(site, site.choices[near[int(generator.integers(len(near)))]])
        return recipe

    def crossover(self, first: Recipe, second: Recipe, generator: np.random.Generator) -> Recipe:
        """Each site's choice from one parent or the other."""
        recipe = Recipe()
        for site in self.sites.values():
            parent = first if generator.random() < 0.5 else second
            recipe = recipe.replace(site, parent.get(site.name, site.unchanged))
        return recipe

    def _failing_sites(self, example: tuple[Tensor, ...]) -> dict[str, str]:
        """Sites whose last choice alone gives a network that does not run, or whose output has another shape.

        Sites of one kind are tried together first, as a rule nothing fails.
        """
        failing: dict[str, str] = {}
        for kind in self.transforms:
            sites = [site for site in self.sites.values() if site.kind == kind and kind != "precision"]
            together = Recipe()
            for site in sites:
                together = together.replace(site, site.choices[-1])
            if not together or self._problem(together, example) is None:
                continue
            for site in sites:
                problem = self._problem(Recipe().replace(site, site.choices[-1]), example)
                if problem is not None:
                    failing[site.name] = problem
        return failing

    @torch.no_grad()
    def _problem(self, recipe: Recipe, example: tuple[Tensor, ...]) -> str | None:
        """Why the recipe's student does not run, or what has become of its output's shape."""
        student = self.build(recipe, repair=False)
        try:
            output = student.module(*example)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            return first_line(error)
        if output.shape[1:] != self.statistics.outputs.shape[1:]:
            return f"the output's shape becomes {tuple(output.shape[1:])}"
        return None


def _channels(
    teacher: nn.Module,
    groups: Sequence[ChannelGroup],
    grams: Mapping[str, Tensor],
    unprunable: list[Unprunable],
    known: Mapping[str, Sequence[int]],
) -> Channels:
    """Orders for every group that has a consumer with statistics; the others are added to `unprunable`."""
    named, orders = {}, {}
    for group in groups:
        consumers = consumers_of(group, teacher, grams)
        if not consumers:
            unprunable.append(Unprunable(group.root, "the layers that consume it run more than once in a pass"))
            continue
        name = f"channels:{group.root}"
        named[name] = group
        if name in known:
            orders[name] = np.array(known[name], dtype=np.int64)
        else:
            orders[name], _ = removal_order(consumers, group.n_units)
    return Channels(teacher, named, orders)


def _draw(choices: Sequence[Choice], generator: np.random.Generator) -> Choice:
    return choices[int(generator.integers(len(choices)))]
