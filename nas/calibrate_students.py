"""Students that are built to be timed only: like those that a search proposes, with weights that are plain slices."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from latency_models.artifact import Artifact, Precision
from latency_models.errors import LatencyError
from latency_models.predict.kernels import Network, network_of
from nas.config import Settings
from nas.evaluate import FAILURES
from nas.export import export_artifact, teacher_template
from nas.strategies.designs import nearest
from nas.teacher import Task
from nas.template import Template
from nas.workbench import calibration_inputs, float32_first
from search_spaces.recipe import Recipe
from search_spaces.space import SearchSpace
from search_spaces.transform import Student

N_POOL = 150
"""Students that are weighed; each is built and exported, which takes some 30 ms."""
N_INPUTS = 64
"""Calibration inputs of the int8 ranges, on which no latency depends."""
SMALLEST = 0.1
"""Of a site's channels, as the centre that widths are drawn around."""
MOST_CHANGED = {"depth": 0.8, "resolution": 0.6, "factorize": 0.7}
"""Sites of this kind that are changed in a student, as a share of all: it is drawn evenly up to this for each one. What
a search plans has anything from none to most layers factorised, which is as many more kernels."""


@dataclass(frozen=True, eq=False)
class Nursery:
    """Builds students of one teacher.

    Attributes:
        folder: for files; it is emptied in the end.
        task: teacher and data.
        space: its neighbourhood.
        template: of the teacher, where it can be traced.
        anchor: the teacher's artifact.
    """

    folder: Path
    task: Task
    space: SearchSpace
    template: Template | None
    anchor: Artifact

    def artifact(self, recipe: Recipe, precision: Precision, first: bool, name: str) -> Artifact:
        """The file of a recipe; one of the same name is replaced.

        Args:
            recipe: without a precision.
            precision: to export in.
            first: whether an int8 file keeps the layers that read the inputs in float32.
            name: of the file.

        Raises:
            one of `nas.evaluate.FAILURES`: it cannot be built or exported.
        """
        student = replace(self.space.build(recipe, repair=False), precision=precision)
        inputs = self.space.statistics.inputs
        return export_artifact(
            student, self.task.data.example, inputs, self.folder / f"{name}.onnx", self.template, first
        )


@contextmanager
def nursery(task: Task, settings: Settings, precisions: Sequence[str]) -> Iterator[Nursery]:
    """Finds a teacher's sites and exports it.

    Args:
        task, settings: of the calibration.
        precisions: that a target can do.
    """
    with TemporaryDirectory(prefix="nas-calibrate-") as name:
        folder = Path(name)
        generator = torch.Generator().manual_seed(settings.seed)
        inputs = calibration_inputs(task, N_INPUTS, settings.seed)
        space = SearchSpace.from_teacher(
            task.teacher, inputs, generator, settings.transforms, float32_first(precisions)
        )
        anchor = export_artifact(Student(task.teacher), task.data.example, (), folder / "teacher.onnx")
        yield Nursery(folder, task, space, teacher_template(task.teacher, task.data.example), anchor)


def proposals(space: SearchSpace, generator: np.random.Generator, n: int) -> list[Recipe]:
    """Recipes without a precision, each once: evenly spread over sizes, every kind of change among them.

    Args:
        space: of the teacher.
        generator: of what is drawn.
        n: how many at most; a small space has fewer.
    """
    found: dict[Recipe, None] = {}
    for _ in range(4 * n):
        centre = math.exp(generator.uniform(math.log(SMALLEST), 0.0))
        recipe = Recipe()
        shares = {kind: generator.uniform(0.0, most) for kind, most in MOST_CHANGED.items()}
        for site in space.sites.values():
            if site.kind == "channels":
                fraction = float(np.clip(centre * generator.uniform(0.5, 1.6), 0.05, 1.0))
                recipe = recipe.replace(site, nearest(site, fraction))
            elif generator.random() < shares.get(site.kind, 0.0):
                recipe = recipe.replace(site, site.choices[int(generator.integers(1, len(site.choices)))])
        if recipe:
            found[recipe] = None
        if len(found) == n:
            break
    return list(found)


def described(nursery: Nursery, recipes: Sequence[Recipe]) -> dict[Recipe, Network]:
    """The float32 kernels of those recipes that can be built and described."""
    found: dict[Recipe, Network] = {}
    for recipe in recipes:
        try:
            found[recipe] = network_of(nursery.artifact(recipe, "float32", False, "described"))
        except (*FAILURES, LatencyError):
            continue  # a search would record it as a failure; there are others to learn from
    return found
