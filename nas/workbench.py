"""What every candidate of a run is built, timed and scored with."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latency_models.artifact import Artifact
from latency_models.errors import LatencyError
from latency_models.model import LatencyModel
from latency_models.open import open_model, open_predicted
from latency_models.precisions import offered
from latency_models.target import Target
from nas.accuracy import ScoredSet, score
from nas.config import Settings
from nas.deadline import Deadline
from nas.errors import UserError
from nas.export import export_artifact, feed, parity
from nas.kept import Kept
from nas.latencies import Models, everywhere, timed
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
N_TEACHER_VISITS = 1
N_TIMED = 32
"""Validation samples that tell how long scoring the teacher takes."""
N_TEACHER, TEACHER_SHARE = 128, 0.02
"""Validation samples that the teacher is scored on at least, and the share of the time budget for more of them."""
N_VALIDATION = 5000
N_SCREENING = 1000
"""Validation samples that repaired students are scored on; trained ones see all of them."""
SCORING_SHARE = 0.03
"""Of the time budget that scoring the teacher on all validation samples may take; else fewer of them are used."""


@dataclass(frozen=True, eq=False)
class Workbench:
    """Made once a run by `open_workbench`.

    Attributes:
        run: the run's folder.
        settings: resolved.
        task: teacher, data, loss, metric.
        space: the teacher's neighbourhood.
        models: latencies on each target; every timing is interleaved with the teacher's artifact.
        ledger, deadline, progress: of the run.
        example: one sample of each input, batch axis 1.
        calibration: (n, ...) training inputs that repair and quantisation see.
        validation: what candidates are scored on.
        screening: the part of it that repaired students are scored on.
        teacher_cost: the teacher, layer by layer.
        n_threads: of torch while it trains and repairs.
        teacher_score_s: seconds that scoring the teacher on all of `validation` takes.
        kept: what one candidate leaves in memory for the next.
    """

    run: Path
    settings: Settings
    task: Task
    space: SearchSpace
    models: Models
    ledger: Ledger
    deadline: Deadline
    progress: Progress
    example: tuple[Tensor, ...]
    calibration: tuple[Tensor, ...]
    validation: ScoredSet
    screening: ScoredSet
    teacher_cost: Cost
    n_threads: int
    teacher_score_s: float
    kept: Kept = field(default_factory=Kept)

    def artifact_path(self, recipe: Recipe, rung: int) -> Path:
        """Where a record's artifact lies."""
        return self.run / ARTIFACTS / f"{recipe.digest}-r{rung}.onnx"

    def seeded(self, *words: object) -> np.random.Generator:
        """Randomness for one purpose: the same in a resumed run, whatever came before."""
        text = repr((self.settings.seed, *words)).encode()
        return np.random.default_rng(list(text))


def calibration_inputs(task: Task, n: int, seed: int) -> tuple[Tensor, ...]:
    """Training inputs drawn without replacement, (n, ...) each."""
    generator = torch.Generator().manual_seed(seed)
    n = min(n, len(task.data.train))
    return task.data.train.take(torch.randperm(len(task.data.train), generator=generator)[:n]).inputs


def float32_first(precisions: Iterable[str]) -> tuple[str, ...]:
    """The same with the teacher's own precision at the head, as a site wants it."""
    return tuple(sorted(precisions, key=lambda name: name != "float32"))


def teacher_artifact(run: Path, task: Task, known: Record | None) -> Artifact:
    """The anchor: exported and checked in a fresh run, the very same file in one that is resumed.

    Raises:
        UserError: the file is missing or has changed since the run began.
    """
    path = run / ARTIFACTS / "teacher.onnx"
    if known is not None:
        if not path.is_file() or Artifact.from_file(path, "float32").digest != known.artifact_digest:
            raise UserError(f"{path} is missing or has changed since the search began.", "Start a fresh run.")
        return Artifact.from_file(path, "float32")
    path.parent.mkdir(exist_ok=True)
    student = Student(task.teacher)
    artifact = export_artifact(student, task.data.example, (), path)
    parity(artifact, student, task.data.validation.first(N_PARITY).inputs)
    return artifact


def teacher_score(
    task: Task, artifact: Artifact, validation: ScoredSet, limit_s: float, elapsed_s: Callable[[], float]
) -> tuple[float, int, float]:
    """Scores the teacher on the first validation samples, as many as there is time for.

    Args:
        task, artifact, validation: what is scored, through what, on what.
        limit_s: seconds, as far as the fewest samples allow.
        elapsed_s: the clock of the time budget.

    Returns:
        The metric, the samples it rests on, and the seconds that all samples would take.

    Raises:
        UserError: the task's metric gives no finite number for it.
    """
    n_timed, n_all = min(N_TIMED, len(validation.split)), len(validation.split)
    try:
        started_s = elapsed_s()
        accuracy = score(task, artifact, _first(validation, n_timed))
        each_s = max(elapsed_s() - started_s, 1e-6) / n_timed
        n = min(n_all, max(N_TEACHER, int(limit_s / each_s)))
        if n > n_timed:
            accuracy = score(task, artifact, _first(validation, n))
    except RUN_ERRORS as error:
        raise UserError(
            f"The teacher cannot be scored: {first_line(error)}.",
            "Check `metric`: it takes outputs and labels as numpy arrays and returns one finite number.",
        ) from error
    return accuracy, n, each_s * n_all


def _first(on: ScoredSet, n: int) -> ScoredSet:
    return ScoredSet(on.split.first(n), on.reference[:n])


def teacher_record(run: Path, task: Task, artifact: Artifact, models: Models, settings: Settings) -> Record:
    """Times the teacher itself.

    Its latency is timed against itself: the ratio's interval around 1 says what timing can tell apart on a target.

    Raises:
        UserError: a target cannot run it.
    """
    teacher_cost = cost(task.teacher, task.data.example)
    record = Record(
        recipe=Recipe(),
        n_parameters=teacher_cost.n_parameters,
        n_macs=teacher_cost.n_macs,
        size_bytes=artifact.size_bytes,
        artifact=str(artifact.path.relative_to(run)),
        artifact_digest=artifact.digest,
        seed=settings.seed,
        note="the teacher",
    )
    for _ in range(N_TEACHER_VISITS):
        record = timed(models, artifact, record, record)
        for label, reason in record.refusals.items():
            raise UserError(f"The target {label} cannot time the teacher: {reason}", "`nas targets` says more.")
    return record


@contextmanager
def open_workbench(
    run: Path, settings: Settings, task: Task, ledger: Ledger, deadline: Deadline, progress: Progress
) -> Iterator[Workbench]:
    """Times the teacher, finds the sites and prepares everything that candidates are scored with.

    Processes and connections of the targets end with the context.
    """
    progress.phase("profiling the teacher")
    n_threads = training_threads(settings.training_threads)
    torch.set_num_threads(n_threads)
    targets = settings.targets
    example = task.data.example
    validation = ScoredSet.of(task, task.data.validation.first(N_VALIDATION))
    known = ledger.get(Recipe(), 0)
    artifact = teacher_artifact(run, task, known)
    with ExitStack() as stack:
        models = {
            target.label: stack.enter_context(closing(_opened(target, artifact, example, settings)))
            for target in targets
        }
        if known is None:
            limit_s = TEACHER_SHARE * deadline.budget_s
            accuracy, n, all_s = teacher_score(task, artifact, validation, limit_s, deadline.elapsed_s)
            record = teacher_record(run, task, artifact, models, settings)
            ledger.set_fact("visit_s", _visit_s(record))
            ledger.set_fact("teacher_score_s", all_s)
            ledger.put(replace(record, accuracy=accuracy, environment={"n_validation": str(n)}))
        calibration = calibration_inputs(task, settings.n_calibration, settings.seed)
        generator = torch.Generator().manual_seed(settings.seed)
        orders = ledger.get_fact("orders")
        kept, reasons = offered(settings.precision, targets)
        for precision, reason in reasons.items():
            progress.note(f"{precision} is left out ({reason})")
        space = SearchSpace.from_teacher(
            task.teacher, calibration, generator, settings.transforms, float32_first(kept), orders
        )
        ledger.set_fact("orders", space.orders)
        teacher_score_s = float(ledger.get_fact("teacher_score_s"))
        n_validation = int(SCORING_SHARE * deadline.budget_s / teacher_score_s * len(validation.split))
        n_validation = min(len(validation.split), max(N_SCREENING, n_validation))
        teacher_score_s *= n_validation / len(validation.split)
        validation = _first(validation, n_validation)
        yield Workbench(
            run, settings, task, space, models, ledger, deadline, progress, example, calibration, validation,
            _first(validation, N_SCREENING), cost(task.teacher, example), n_threads,
            teacher_score_s,
        )  # fmt: skip


def _visit_s(record: Record) -> float:
    """About how long timing a student once on every target takes, from the teacher's own first visit: its samples,
    half as much again for warming up, and opening the file."""
    visits = [visit for latency in everywhere(record).values() for visit in latency.visits]
    return sum(0.05 + 1.5 * (sum(visit.candidate_s) + sum(visit.anchor_s)) for visit in visits)


def _opened(target: Target, artifact: Artifact, example: tuple[Tensor, ...], settings: Settings) -> LatencyModel:
    opened = open_predicted if settings.latency == "predicted" else open_model
    try:
        return opened(target, artifact, feed(example), settings.seed)
    except LatencyError as error:
        raise UserError(f"The target {target.name} cannot be used: {error.problem}", error.remedy) from error


def teacher_of(bench: Workbench) -> Record:
    """The teacher's record."""
    record = bench.ledger.get(Recipe(), 0)
    assert record is not None
    return record


def budget_ratio(bench: Workbench, label: str) -> float:
    """The latency budget as a share of the teacher's latency on a target."""
    return bench.settings.budget.as_ratio(everywhere(teacher_of(bench))[label].median_s)


def time_is_before(bench: Workbench, share: float) -> bool:
    """Whether less than this share of the time budget is used."""
    return bench.deadline.elapsed_s() < share * bench.deadline.budget_s
