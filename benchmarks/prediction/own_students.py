"""Students of four teachers as a search would propose them, as files; their weights are slices, not repaired."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from networks import network
from torch import Tensor, nn

from latency_models.artifact import Artifact
from latency_models.backend import Feed
from nas.export import export_artifact, feed, teacher_template
from nas.quantize import quantize_int8
from nas.tasks import TASKS
from search_spaces.recipe import Recipe
from search_spaces.space import SearchSpace

KINDS = ("depth", "resolution", "channels", "factorize")
N_CALIBRATION = 64
N_DRAWN = 3
"""Of each four recipes so many are drawn anew, the last is a mutated child of two earlier ones."""


@dataclass(frozen=True)
class Teacher:
    """A network whose students are measured.

    Attributes:
        module: in evaluation mode, frozen.
        example: one input.
        calibration: (n, ...) inputs for sites and int8 ranges.
    """

    module: nn.Module
    example: tuple[Tensor, ...]
    calibration: tuple[Tensor, ...]


def teacher_of(name: str) -> Teacher:
    """A built-in task's teacher with its data, or a network of `benchmarks/networks.py` with random numbers."""
    if name in TASKS:
        task = TASKS[name]()
        return Teacher(task.teacher, task.data.example, task.data.train.first(N_CALIBRATION).inputs)
    module, example = network(name)
    inputs = torch.randn(N_CALIBRATION, *example[0].shape[1:], generator=torch.Generator().manual_seed(0))
    return Teacher(module.requires_grad_(False), example, (inputs,))


def recipes(space: SearchSpace, seed: int) -> Iterator[Recipe]:
    """Endlessly different recipes: random ones of any share of changed sites, and children as a search makes them."""
    generator, known = np.random.default_rng(seed), list[Recipe]()
    while True:
        if len(known) % (N_DRAWN + 1) < N_DRAWN:
            recipe = space.sample(generator, float(generator.uniform(0.1, 0.9)))
        else:
            first, second = (known[int(generator.integers(len(known)))] for _ in range(2))
            recipe = space.mutate(space.crossover(first, second, generator), generator)
        if recipe and recipe not in known:
            known.append(recipe)
            yield recipe


def prepare(name: str, n: int, folder: Path, seed: int = 0) -> None:
    """Writes a teacher's and its students' files, those that are not there yet: teacher.onnx, 0.onnx, 0.int8.onnx ...
    and recipes.json, last."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "recipes.json").is_file():
        return
    teacher = teacher_of(name)
    generator = torch.Generator().manual_seed(seed)
    space = SearchSpace.from_teacher(teacher.module, teacher.calibration, generator, KINDS)
    template = teacher_template(teacher.module, teacher.example)
    made: list[Recipe] = []
    for recipe in recipes(space, seed):
        path = folder / f"{len(made)}.onnx"
        if not path.with_suffix(".int8.onnx").is_file():
            student = space.build(recipe, repair=False)
            artifact = export_artifact(student, teacher.example, teacher.calibration, path, template)
            quantize_int8(artifact.read(), path.with_suffix(".int8.onnx"), feed(teacher.calibration))
        made.append(recipe)
        if len(made) == n:
            break
    export_artifact(space.build(Recipe(), repair=False), teacher.example, (), folder / "teacher.onnx", template)
    np.savez(folder / "feed.npz", allow_pickle=False, **feed(teacher.example))
    (folder / "recipes.json").write_text(json.dumps([dict(one) for one in made]), encoding="utf-8")


def artifact_of(folder: Path, student: int | None, precision: str) -> Artifact:
    """A file that `prepare` wrote; None is the teacher."""
    if student is None:
        return Artifact.from_file(folder / "teacher.onnx", "float32")
    if precision == "int8":
        return Artifact.from_file(folder / f"{student}.int8.onnx", "int8")
    return Artifact.from_file(folder / f"{student}.onnx", "float32")


def feed_of(folder: Path) -> Feed:
    """The input that all of a folder's files are timed on."""
    with np.load(folder / "feed.npz") as saved:
        return {name: saved[name] for name in saved.files}
