"""What the student of a recipe costs on paper, without building it: the same numbers as `cost.cost` of the student."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from search_spaces.channels import Channels
from search_spaces.cost import Cost, LayerCost, conv_kind, cost
from search_spaces.depth import DROP
from search_spaces.factorize import DENSE
from search_spaces.ranks import Factor, Pair, factors_of, saves
from search_spaces.recipe import Choice, Recipe, Site
from search_spaces.repair import LAST_FACTOR
from search_spaces.space import SearchSpace
from search_spaces.tracing import Side
from search_spaces.transform import Student
from search_spaces.weights import Weights, tied_parameters, weights_of

Axis = tuple[str, Side]


@dataclass(frozen=True)
class _Effect:
    """What one choice does: module paths that go, features that go as bits of a mask, a path that is factorised, layers
    whose input and whose output image is halved."""

    dropped: frozenset[str] = frozenset()
    removed: tuple[tuple[Axis, int], ...] = ()
    factorized: tuple[str, str] | None = None
    halved: frozenset[tuple[str, Side]] = frozenset()


@dataclass
class _Plan:
    """The effects of a whole recipe together."""

    dropped: set[str] = field(default_factory=set)
    removed: dict[Axis, int] = field(default_factory=dict)
    factorized: dict[str, str] = field(default_factory=dict)
    halved: set[tuple[str, Side]] = field(default_factory=set)

    def n_removed(self, path: str, side: Side) -> int:
        mask = self.removed.get((path, side))
        return mask.bit_count() if mask else 0


@dataclass(frozen=True, eq=False)
class CostIndex:
    """All that is needed to cost recipes of one search space; made once by `CostIndex.of`.

    Attributes:
        base: cost of the teacher.
        images: for each of its layers, (rows, columns) of the input and of the output; (1, 1) twice where unknown.
        weights: by path, every module with parameters.
        effects: by site name and choice.
        tied: for each parameter of several modules, their paths and its elements; no choice cuts those.
        known: layer costs already worked out, by index in `base.layers`, features removed in and out, factorisation,
            and whether the image before and after is halved.
    """

    base: Cost
    images: tuple[tuple[Pair, Pair], ...]
    weights: Mapping[str, Weights]
    effects: Mapping[tuple[str, Choice], _Effect]
    tied: tuple[tuple[frozenset[str], int], ...] = ()
    known: dict[tuple[int, int, int, str, bool, bool], tuple[LayerCost, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, space: SearchSpace, base: Cost | None = None) -> "CostIndex":
        """Runs the teacher once on one calibration sample.

        Args:
            space: whose recipes are to be costed.
            base: cost of its teacher at another input size than the calibration inputs'; factorised convolutions
                with a stride or without padding are then not exact.
        """
        example = tuple(tensor[:1] for tensor in space.statistics.inputs)
        own = cost(space.teacher, example)
        base = own if base is None else base
        if [layer.path for layer in base.layers] != [layer.path for layer in own.layers]:
            raise ValueError("this cost is not of the search space's teacher")
        effects = {
            (site.name, choice): _effect(space, site, choice)
            for site in space.sites.values()
            for choice in site.choices
        }
        teacher = space.teacher
        return cls(base, _images(teacher, example), weights_of(teacher), effects, tied_parameters(teacher))

    @cached_property
    def tied_paths(self) -> frozenset[str]:
        """Paths of the modules whose parameters are counted in `tied`."""
        return frozenset[str]().union(*(owners for owners, _ in self.tied))

    def layers(self, recipe: Recipe) -> tuple[LayerCost, ...]:
        """Layer costs of the recipe's student, in the order in which they run.

        Raises:
            ValueError: a site or choice that the space does not have.
        """
        plan = self._plan(recipe)
        found: list[LayerCost] = []
        for index, layer in enumerate(self.base.layers):
            path = layer.path
            if path in plan.dropped:
                continue
            method = plan.factorized.get(path, DENSE)
            small = (path, "in") in plan.halved, (path, "out") in plan.halved
            key = index, plan.n_removed(path, "in"), plan.n_removed(path, "out"), method, *small
            if key not in self.known:
                self.known[key] = self._cut(*key)
            found.extend(self.known[key])
        return tuple(found)

    def cost(self, recipe: Recipe) -> Cost:
        """Cost of the recipe's student.

        Raises:
            ValueError: a site or choice that the space does not have.
        """
        plan, layers = self._plan(recipe), self.layers(recipe)
        touched = plan.dropped | {path for path, _ in plan.removed} | set(plan.factorized)
        n_parameters = self.base.n_parameters
        for path in touched & self.weights.keys() - self.tied_paths:
            weights, choice = self.weights[path], plan.factorized.get(path, DENSE)
            n_parameters -= weights.count(weights.n_in, weights.n_out)
            if path not in plan.dropped:
                n_in, n_out = weights.n_in - plan.n_removed(path, "in"), weights.n_out - plan.n_removed(path, "out")
                n_parameters += weights.count(n_in, n_out, choice)
        n_parameters -= sum(n for owners, n in self.tied if owners <= plan.dropped)
        peaks = (layer.n_in * layer.n_input_positions + layer.n_out * layer.n_positions for layer in layers)
        return Cost(layers, n_parameters, max(peaks, default=0))

    def _plan(self, recipe: Recipe) -> _Plan:
        plan = _Plan()
        for item in recipe.items_:
            effect = self.effects.get(item)
            if effect is None:
                raise ValueError(f"this teacher has no site {item[0]} with the choice {item[1]!r}")
            plan.dropped |= effect.dropped
            for axis, mask in effect.removed:
                plan.removed[axis] = plan.removed.get(axis, 0) | mask
            if effect.factorized is not None:
                plan.factorized[effect.factorized[0]] = effect.factorized[1]
            plan.halved |= effect.halved
        return plan

    def _cut(
        self, index: int, n_removed_in: int, n_removed_out: int, choice: str, small_in: bool, small_out: bool
    ) -> tuple[LayerCost, ...]:
        """One run of one layer after its own cuts."""
        layer, weights = self.base.layers[index], self.weights[self.base.layers[index].path]
        before, after = self.images[index]
        if small_in:
            layer, before = replace(layer, n_input_positions=_quarter(layer.n_input_positions, before)), _half(before)
        if small_out:
            layer, after = replace(layer, n_positions=_quarter(layer.n_positions, after)), _half(after)
        if small_in != small_out:  # this layer's stride moves with the image
            stride = (-(-before[0] // after[0]), -(-before[1] // after[1]))
            weights = replace(weights, stride=stride)
        n_out = layer.n_out - n_removed_out
        n_in = n_out if weights.carries else layer.n_in - n_removed_in
        if choice != DENSE and saves(choice, n_in, n_out, weights.kernel, weights.stride):
            factors = factors_of(choice, n_in, n_out, weights.kernel)
            return _factor_costs(layer, factors, before, after)
        groups = n_out if weights.carries else layer.groups
        kind = layer.kind if layer.kind == "linear" else conv_kind(n_in, layer.kernel, groups)
        return (replace(layer, kind=kind, n_in=n_in, n_out=n_out, groups=groups),)


def layers_of(space: SearchSpace, base: Cost, recipe: Recipe) -> tuple[LayerCost, ...]:
    """Layer costs of one recipe's student; for many recipes of one space keep a `CostIndex`.

    Args:
        space: the recipe's.
        base: cost of its teacher.
        recipe: of this space's sites.

    Raises:
        ValueError: a site or choice that the space does not have.
    """
    return CostIndex.of(space, base).layers(recipe)


def _effect(space: SearchSpace, site: Site, choice: Choice) -> _Effect:
    path = site.name.partition(":")[2]
    transform = space.transforms[site.kind]
    if choice == site.unchanged:
        return _Effect()
    if choice == DROP and site.kind == "depth":
        inside = space.teacher.get_submodule(path).named_modules()
        return _Effect(dropped=frozenset(f"{path}.{name}" if name else path for name, _ in inside))
    if isinstance(transform, Channels):
        group = transform.groups[site.name]
        gone = np.setdiff1d(np.arange(group.n_units), transform.units(site.name, int(choice)))
        masks: dict[Axis, int] = {}
        for member in group.members:
            axis = member.module, member.side
            bits = sum(1 << feature for feature in set(member.features[gone].ravel().tolist()))
            masks[axis] = masks.get(axis, 0) | bits
        return _Effect(removed=tuple(masks.items()))
    if site.kind == "factorize":
        return _Effect(factorized=(path, str(choice)))
    if site.kind == "resolution":
        return _Effect(halved=_halved(space, site, choice))
    return _Effect()


def _halved(space: SearchSpace, site: Site, choice: Choice) -> frozenset[tuple[str, Side]]:
    """Layers that run on a smaller image with this choice, before or after them."""
    example = tuple(tensor[:1] for tensor in space.statistics.inputs)
    student = space.transforms[site.kind].apply(Student(space.teacher), {site.name: choice})
    found: set[tuple[str, Side]] = set()
    for was, now in zip(cost(space.teacher, example).layers, cost(student.module, example).layers, strict=True):
        if now.n_input_positions < was.n_input_positions:
            found.add((was.path, "in"))
        if now.n_positions < was.n_positions:
            found.add((was.path, "out"))
    return frozenset(found)


def _half(image: Pair) -> Pair:
    return -(-image[0] // 2), -(-image[1] // 2)


def _quarter(n_positions: int, image: Pair) -> int:
    """Positions of the halved image, also where the cost is of another input size than the image."""
    small = _half(image)
    return n_positions * (small[0] * small[1]) // (image[0] * image[1])


def _factor_costs(layer: LayerCost, factors: tuple[Factor, ...], before: Pair, after: Pair) -> tuple[LayerCost, ...]:
    costs = []
    rows, columns = before
    for index, factor in enumerate(factors):
        is_last = index == len(factors) - 1
        n_before = rows * columns
        rows, columns = (after[0] if factor.moves[0] else rows), (after[1] if factor.moves[1] else columns)
        n_taps = factor.kernel[0] * factor.kernel[1]
        if layer.kind == "linear":
            kind, positions = "linear", (layer.n_positions, layer.n_positions)
        else:
            kind, positions = conv_kind(factor.n_in, n_taps, 1), (rows * columns, n_before)
        name = LAST_FACTOR if is_last else f"factor{index}"
        costs.append(LayerCost(f"{layer.path}.{name}", kind, factor.n_in, factor.n_out, n_taps, 1, *positions))
    return tuple(costs)


@torch.no_grad()
def _images(teacher: nn.Module, example: tuple[Tensor, ...]) -> tuple[tuple[Pair, Pair], ...]:
    """Rows and columns before and after each run of a layer, in the order of `Cost.layers`."""
    images: list[tuple[Pair, Pair]] = []

    def record(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        is_image = isinstance(layer, nn.Conv2d)
        images.append((_image(args[0]), _image(output)) if is_image else ((1, 1), (1, 1)))

    hook: Callable[..., None] = record
    layers = [module for module in teacher.modules() if isinstance(module, _ConvNd | nn.Linear)]
    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        teacher(*example)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(images)


def _image(tensor: Tensor) -> Pair:
    return tensor.shape[-2], tensor.shape[-1]
