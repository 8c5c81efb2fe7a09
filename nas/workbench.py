"""What every candidate of a run is built, timed and scored with."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latency_models.artifact import Artifact
from latency_models.latency import Latency, Visit
from latency_models.onnxruntime_backend import OrtRunner, environment, load
from latency_models.target import Target
from latency_models.timing import Plan, latency_from_visits, visit
from nas.accuracy import ScoredSet, score
from nas.config import Settings
from nas.deadline import Deadline
from nas.errors import UserError
from nas.export import export_artifact, feed, parity
from nas.ledger import Ledger
from nas.progress import Progress
from nas.record import Record
from nas.teacher import RUN_ERRORS, Task
from nas.threads import training_threads
from search_spaces.cost import Cost, cost
from search_spaces.coupling import first_line
from search_spaces.recipe import Recipe
from search_spaces.space import SearchSpace
from search_spaces.transform import Student

ARTIFACTS = "artifacts"
N_PARITY = 16
N_TEACHER_VISITS = 3
N_VALIDATION = 5000
N_SCREENING = 2000
"""Validation samples that repaired students are scored on; trained ones see all of them."""


@dataclass(frozen=True, eq=False)
class Workbench:
    """Made once a run by `open_workbench`.

    Attributes:
        run: the run's folder.
        settings: resolved.
        task: teacher, data, loss, metric.
        space: the teacher's neighbourhood.
        target: what latencies hold for.
        ledger, deadline, progress: of the run.
        example: one sample of each input, batch axis 1.
        calibration: (n, ...) training inputs that repair and quantisation see.
        validation: what candidates are scored on.
        screening: the part of it that repaired students are scored on.
        anchor: the teacher's artifact, loaded; every timing is interleaved with it.
        teacher_cost: the teacher, layer by layer.
        n_threads: of torch while it trains and repairs.
        teacher_score_s: seconds that exporting, timing and scoring the teacher took.
    """

    run: Path
    settings: Settings
    task: Task
    space: SearchSpace
    target: Target
    ledger: Ledger
    deadline: Deadline
    progress: Progress
    example: tuple[Tensor, ...]
    calibration: tuple[Tensor, ...]
    validation: ScoredSet
    screening: ScoredSet
    anchor: OrtRunner
    teacher_cost: Cost
    n_threads: int
    teacher_score_s: float

    def artifact_path(self, recipe: Recipe, rung: int) -> Path:
        """Where a record's artifact lies."""
        return self.run / ARTIFACTS / f"{recipe.digest}-r{rung}.onnx"

    def seeded(self, *words: object) -> np.random.Generator:
        """Randomness for one purpose: the same in a resumed run, whatever came before."""
        text = repr((self.settings.seed, *words)).encode()
        return np.random.default_rng(list(text))

    def time(self, artifact: Artifact, earlier: tuple[Visit, ...] = ()) -> Latency:
        """One more visit of an artifact, and the latency that all its visits show."""
        runner = load(artifact, self.target, feed(self.example))
        new = visit({"student": runner}, self.anchor, Plan())["student"]
        return latency_of_visits(self, (*earlier, new))


def latency_of_visits(bench: Workbench, visits: tuple[Visit, ...], anchor_s: float | None = None) -> Latency:
    """The latency that these visits show; see `latency_from_visits`."""
    generator = bench.seeded("interval", len(visits))
    return latency_from_visits(visits, bench.target.label, environment(bench.target), generator, anchor_s)


def calibration_inputs(task: Task, n: int, seed: int) -> tuple[Tensor, ...]:
    """Training inputs drawn without replacement, (n, ...) each."""
    generator = torch.Generator().manual_seed(seed)
    n = min(n, len(task.data.train))
    return task.data.train.take(torch.randperm(len(task.data.train), generator=generator)[:n]).inputs


def load_teacher_artifact(run: Path, known: Record, target: Target, example: tuple[Tensor, ...]) -> OrtRunner:
    """The anchor of a run that is resumed: the very file that its candidates were timed against.

    Raises:
        UserError: it is missing or has changed.
    """
    path = run / known.artifact
    if not path.is_file() or Artifact.from_file(path, "float32").digest != known.artifact_digest:
        raise UserError(f"{path} is missing or has changed since the search began.", "Start a fresh run.")
    return load(Artifact.from_file(path, "float32"), target, feed(example))


def teacher_record(
    run: Path, task: Task, target: Target, example: tuple[Tensor, ...], validation: ScoredSet, settings: Settings
) -> tuple[Record, OrtRunner]:
    """Exports, checks, times and scores the teacher itself.

    Its latency is timed against itself: the ratio's interval around 1 says what timing can tell apart here.

    Raises:
        UserError: the task's metric gives no finite number for it.
    """
    path = run / ARTIFACTS / "teacher.onnx"
    path.parent.mkdir(exist_ok=True)
    student = Student(task.teacher)
    artifact = export_artifact(student, example, (), path)
    parity(artifact, student, task.data.validation.first(N_PARITY).inputs)
    try:
        accuracy = score(task, artifact, validation)
    except RUN_ERRORS as error:
        raise UserError(
            f"The teacher cannot be scored: {first_line(error)}.",
            "Check `metric`: it takes outputs and labels as numpy arrays and returns one finite number.",
        ) from error
    anchor = load(artifact, target, feed(example))
    again = load(artifact, target, feed(example))
    visits = tuple(visit({"teacher": again}, anchor, Plan())["teacher"] for _ in range(N_TEACHER_VISITS))
    generator = np.random.default_rng(settings.seed)
    teacher_cost = cost(task.teacher, example)
    record = Record(
        recipe=Recipe(),
        accuracy=accuracy,
        latency=latency_from_visits(visits, target.label, environment(target), generator),
        n_parameters=teacher_cost.n_parameters,
        n_macs=teacher_cost.n_macs,
        size_bytes=artifact.size_bytes,
        artifact=str(path.relative_to(run)),
        artifact_digest=artifact.digest,
        seed=settings.seed,
        note="the teacher",
    )
    return record, anchor


def open_workbench(
    run: Path, settings: Settings, task: Task, ledger: Ledger, deadline: Deadline, progress: Progress
) -> Workbench:
    """Times the teacher, finds the sites and prepares everything that candidates are scored with."""
    progress.phase("profiling the teacher")
    n_threads = training_threads(settings.training_threads)
    torch.set_num_threads(n_threads)
    target = Target(n_threads=settings.n_threads)
    example = task.data.example
    validation = ScoredSet.of(task, task.data.validation.first(N_VALIDATION))
    known = ledger.get(Recipe(), 0)
    if known is None:
        started_s = deadline.elapsed_s()
        known, anchor = teacher_record(run, task, target, example, validation, settings)
        ledger.set_fact("teacher_score_s", deadline.elapsed_s() - started_s)
        ledger.put(known)
    else:
        anchor = load_teacher_artifact(run, known, target, example)
    calibration = calibration_inputs(task, settings.n_calibration, settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    orders = ledger.get_fact("orders")
    space = SearchSpace.from_teacher(
        task.teacher, calibration, generator, settings.transforms, settings.precision, orders
    )
    ledger.set_fact("orders", space.orders)
    return Workbench(
        run, settings, task, space, target, ledger, deadline, progress, example, calibration, validation,
        ScoredSet(validation.split.first(N_SCREENING), validation.reference[:N_SCREENING]), anchor,
        cost(task.teacher, example), n_threads,
        float(ledger.get_fact("teacher_score_s")),
    )  # fmt: skip
