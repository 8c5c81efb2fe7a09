"""Part of a network run at half its resolution: what halves the image does so earlier."""

import copy
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.recipe import Choice, Kind, Site
from search_spaces.sharing import set_submodule, shares_weights
from search_spaces.transform import Student, Transform

KEEP, HALF = "keep", "half"
Size = tuple[int, int]
Windowed = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d
WINDOWED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
N_TRIED = 4
"""Convolutions that are tried for each place where the image is halved."""


@dataclass(frozen=True)
class Halving:
    """A place where a network halves its image, and where it could do so instead.

    Attributes:
        later: paths of the layers that halve it.
        earlier: paths of the convolutions that would.
    """

    later: tuple[str, ...]
    earlier: tuple[str, ...]


@dataclass(frozen=True)
class _Run:
    """One layer with a window, in the order in which they run."""

    path: str
    before: Size
    after: Size
    stride: Size
    is_conv: bool


@torch.no_grad()
def halvings(teacher: nn.Module, example: tuple[Tensor, ...]) -> list[Halving]:
    """Places where the image could be halved earlier: tried out, and the layers behind see the same sizes as before.

    Args:
        teacher: in eval mode; not modified.
        example: one tensor for each input of the network.
    """
    runs = _runs(teacher, example)
    shape = teacher(*example).shape
    found: list[Halving] = []
    for later, candidates in _places(runs, shares_weights(teacher)):
        for earlier in candidates:
            halving = Halving(later, earlier)
            if _works(teacher, example, halving, runs, shape):
                found.append(halving)
                break
    return found


def _places(runs: Sequence[_Run], tied: frozenset[str]) -> Iterator[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """The layers of each place that halve the image, and what could do so before them."""
    n_runs = Counter(run.path for run in runs)
    halving = [run for run in runs if run.stride == (2, 2) and run.after == tuple(-(-n // 2) for n in run.before)]
    sizes = list(dict.fromkeys((run.before, run.after) for run in halving))
    movable = {run.path for run in runs if n_runs[run.path] == 1 and run.path not in tied}
    for before, after in sizes:
        later = tuple(run.path for run in halving if (run.before, run.after) == (before, after))
        previous = [run for run in halving if run.after == before]
        candidates = [tuple(run.path for run in previous)] if previous and all(r.is_conv for r in previous) else []
        first = next(index for index, run in enumerate(runs) if run.path in later)
        for run in runs[:first]:
            if run.is_conv and run.stride == (1, 1) and run.before == run.after == before:
                candidates.append((run.path,))
        usable = [c for c in candidates[:N_TRIED] if movable.issuperset((*c, *later))]
        if usable:
            yield later, usable


def _runs(network: nn.Module, example: tuple[Tensor, ...]) -> list[_Run]:
    runs: list[_Run] = []
    handles = []
    for path, module in network.named_modules():
        if isinstance(module, WINDOWED):

            def record(layer: Windowed, args: tuple[Tensor, ...], output: Tensor, path: str = path) -> None:
                sizes = (args[0].shape[-2], args[0].shape[-1]), (output.shape[-2], output.shape[-1])
                runs.append(_Run(path, *sizes, _pair(layer.stride), isinstance(layer, nn.Conv2d)))

            handles.append(module.register_forward_hook(record))
    try:
        network(*example)
    finally:
        for handle in handles:
            handle.remove()
    return runs


def _works(
    teacher: nn.Module, example: tuple[Tensor, ...], halving: Halving, runs: Sequence[_Run], shape: torch.Size
) -> bool:
    """Whether something runs on a smaller image, and nothing behind the place sees another size than before."""
    moved = copy.deepcopy(teacher)
    move(moved, [halving])
    try:
        now = {run.path: run for run in _runs(moved, example)}
        if moved(*example).shape != shape:
            return False
    except (RuntimeError, ValueError, TypeError, IndexError):
        return False
    last = max(index for index, run in enumerate(runs) if run.path in halving.later)
    smaller = [run for run in runs[: last + 1] if run.path in now and now[run.path].after != run.after]
    halved = all(now[run.path].after == tuple(-(-n // 2) for n in run.after) for run in smaller)
    same = all(now[run.path].after == run.after for run in runs[last + 1 :] if run.path in now)
    return bool(smaller) and halved and same and all(path not in now or now[path].after for path in halving.later)


def move(network: nn.Module, chosen: Sequence[Halving]) -> None:
    """Halves the image earlier at these places.

    Args:
        network: changed in place; its weights stay.
        chosen: places; layers that no longer exist are passed over.
    """
    factors: dict[str, float] = {}
    for halving in chosen:
        for path in halving.earlier:
            factors[path] = factors.get(path, 1.0) * 2
        for path in halving.later:
            factors[path] = factors.get(path, 1.0) / 2
    present = dict(network.named_modules())
    for path, factor in factors.items():
        layer = present.get(path)
        if not isinstance(layer, WINDOWED):
            continue
        stride = (round(_pair(layer.stride)[0] * factor), round(_pair(layer.stride)[1] * factor))
        if stride == (1, 1) and not isinstance(layer, nn.Conv2d) and math.prod(_pair(layer.padding)) == 0:
            set_submodule(network, path, nn.Identity().eval())  # a pool that did nothing but halve
        else:
            layer.stride = stride


def _pair(value: int | tuple[int, ...]) -> Size:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


@dataclass(frozen=True, eq=False)
class Resolution(Transform):
    """Halves the image earlier; the layers in between run on a quarter of the positions.

    Attributes:
        places: by site name, in the order in which they run.
    """

    places: Mapping[str, Halving]
    kind: Kind = "resolution"

    @classmethod
    def of(cls, teacher: nn.Module, example: tuple[Tensor, ...]) -> "Resolution":
        """Every place of a teacher, named after the first layer that halves the image there."""
        return cls({f"resolution:{place.later[0]}": place for place in halvings(teacher, example)})

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(Site(name, self.kind, (KEEP, HALF)) for name in self.places)

    def change(self, student: Student, choices: Mapping[str, Choice]) -> Student:
        chosen = [self.places[name] for name, choice in choices.items() if choice == HALF]
        move(student.module, chosen)
        return student
