"""Whole residual blocks dropped."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.recipe import Choice, Kind, Site
from search_spaces.repair import has_layers
from search_spaces.sharing import reaches_outside, set_submodule
from search_spaces.transform import Student, Transform

KEEP, DROP = "keep", "drop"
STEP = 0.25


@torch.no_grad()
def residual_blocks(teacher: nn.Module, example: tuple[Tensor, ...]) -> list[str]:
    """Paths of the innermost modules that add something to what passes through them.

    A module qualifies where it maps one tensor to one of the same shape and, with all its weights at zero, still lets
    its input through unchanged (an activation after the sum may bend it): only a shortcut can do that. A gate, such
    as squeeze-and-excitation, scales its input and does not qualify. If the blocks hold all of the teacher's layers,
    the last of them is left out, so that something remains to be trained.

    Args:
        teacher: in eval mode; not modified.
        example: one tensor for each input of the network.
    """
    candidates: list[str] = []
    model = copy.deepcopy(teacher).eval()

    def hook(path: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def record(module: nn.Module, args: tuple[object, ...], output: object) -> None:
            if len(args) != 1 or not isinstance(args[0], Tensor) or not isinstance(output, Tensor):
                return
            if not args[0].is_floating_point() or args[0].shape != output.shape:
                return
            if path not in candidates and _passes_input(module, args[0]):
                candidates.append(path)

        return record

    for path, module in list(model.named_modules()):
        if path and any(True for _ in module.children()) and has_layers(module):
            module.register_forward_hook(hook(path))
    model(*example)
    innermost = (p for p in candidates if not any(other.startswith(f"{p}.") for other in candidates))
    blocks = sorted(path for path in innermost if not reaches_outside(teacher, path))
    outside = copy.deepcopy(teacher)
    for path in blocks:
        set_submodule(outside, path, nn.Identity())
    return blocks if has_layers(outside) else blocks[:-1]


def _passes_input(module: nn.Module, inputs: Tensor) -> bool:
    silent = copy.deepcopy(module)
    silent._forward_hooks.clear()
    for inner in silent.modules():
        inner._forward_hooks.clear()
    for parameter in silent.parameters():
        parameter.zero_()
    # Activations let a small step through as it is, at small (ReLU6) or at large positive values (GELU).
    for probe in (inputs.abs() + 0.5, inputs.abs() + 10):
        moved = silent(probe + STEP) - silent(probe)
        if float(((moved - STEP).abs() < 0.02 * STEP).float().mean()) > 0.5:
            return True
    return False


@dataclass(frozen=True, eq=False)
class Depth(Transform):
    """Replaces residual blocks by what their shortcut does: nothing.

    Attributes:
        blocks: paths of the blocks.
    """

    blocks: tuple[str, ...]
    kind: Kind = "depth"

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(Site(f"depth:{path}", self.kind, (KEEP, DROP)) for path in self.blocks)

    def change(self, student: Student, choices: Mapping[str, Choice]) -> Student:
        for name, choice in choices.items():
            if choice == DROP:
                set_submodule(student.module, name.removeprefix("depth:"), nn.Identity().eval())
        return student
