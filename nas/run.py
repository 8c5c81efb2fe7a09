"""A run: a folder that a search fills, that can be resumed, looked at, moved, and exported from."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import onnxruntime
import torch
from torch import nn

from latency_models.onnxruntime_backend import environment
from latency_models.target import Target
from nas.config import Settings, load_settings, read_settings, save_settings
from nas.confirm import STUDENTS
from nas.data import Loss, Metric, as_data
from nas.deadline import Deadline, wall_clock
from nas.engine import open_workbench
from nas.engine import search as run_engine
from nas.errors import UserError
from nas.export import load_student, onnx_bytes, save_pt2, saved_example
from nas.files import write_atomic
from nas.front import Front, front_of
from nas.ledger import LEDGER_FILE, open_ledger
from nas.loading import load_task
from nas.lock import own
from nas.preflight import check
from nas.progress import Progress, Style, make_progress
from nas.publish import publish
from nas.record import Record
from nas.run_folder import claimed_folder, refuse_run
from nas.tasks import TASKS
from nas.teacher import Task, agreement, make_task, top1_accuracy
from nas.words import duration
from search_spaces.recipe import Recipe, Site
from search_spaces.space import SearchSpace

IN_MEMORY = "(given from Python)"
Format = Literal["onnx", "safetensors", "pt2"]


@dataclass(frozen=True, eq=False)
class Run:
    """What a search found.

    Attributes:
        folder: where everything of it lies.
    """

    folder: Path

    @classmethod
    def open(cls, folder: Path | str) -> "Run":
        """The run in a folder, finished or not.

        Raises:
            UserError: it is no run.
        """
        folder = Path(folder)
        if not (folder / LEDGER_FILE).is_file():
            raise UserError(f"{folder} is not a run: it has no {LEDGER_FILE}.", "Name the folder of a run in results/.")
        return cls(folder)

    @cached_property
    def settings(self) -> Settings:
        """As resolved when the search began."""
        return read_settings(self.folder)

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """Everything in the ledger, the teacher first."""
        with open_ledger(self.folder, create=False) as ledger:
            return tuple(ledger.records())

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        """The teacher's sites by name."""
        saved = self._fact("sites") or []
        return {name: Site(name, kind, tuple(choices)) for name, kind, choices in saved}

    @cached_property
    def teacher(self) -> Record:
        """The teacher's record.

        Raises:
            UserError: the search was cut off before it had one.
        """
        for record in self.records:
            if not record.recipe:
                return record
        raise UserError(f"{self.folder} has no results yet.", f"Go on with `nas resume {self.folder}`.")

    @cached_property
    def front(self) -> Front:
        """The front: on the test set once the run is finished, until then on the validation set."""
        return front_of(self.records, self.teacher, metric=str(self._fact("metric") or "accuracy"))

    @property
    def finished(self) -> bool:
        """Whether the search came to its end."""
        return bool(self._fact("confirmed"))

    @property
    def budget_ratio(self) -> float:
        """The latency budget as a share of the teacher's latency."""
        assert self.teacher.latency is not None
        return self.settings.budget.as_ratio(self.teacher.latency.median_s)

    def choice(self) -> Record:
        """The student this search was for: the most accurate that meets the latency budget and the accuracy drop.

        Raises:
            UserError: there is none (the nearest miss is named), exit status 1.
        """
        return self.front.pick(
            "accurate",
            max_accuracy_drop=self.settings.max_accuracy_drop_share,
            latency_budget_ratio=self.budget_ratio,
        )

    def export(
        self, record: Record, out: Path | str, format: Format | None = None, teacher: nn.Module | None = None
    ) -> Path:
        """Writes a student as a file.

        Args:
            record: from `front.pick`.
            out: file to write.
            format: `onnx` is the very file that was timed and scored; `safetensors` holds weights and recipe, for
                `nas.load_student`; `pt2` is a `torch.export` program (float32 only). By default the ending of `out`.
            teacher: only for `pt2` of a run whose teacher was given from Python.

        Raises:
            UserError: unknown format, a student without such a file, or the file has changed since it was scored.
        """
        out = Path(out)
        kind = format or out.suffix.removeprefix(".")
        if not record.ok or (kind != "onnx" and not record.recipe):
            raise UserError(f"{record.id} cannot be exported as {kind}.", "Choose a student of the front.")
        if not out.parent.is_dir():
            raise UserError(f"The folder {out.parent} does not exist.", "Make it first, or write elsewhere.")
        if out.is_dir() or not os.access(out.parent, os.W_OK):
            raise UserError(f"{out} cannot be written.", "Name a file in a folder that is yours.")
        if kind == "onnx":
            return self._export_onnx(record, out)
        weights = self.folder / STUDENTS / f"{record.id}.safetensors"
        if kind in ("safetensors", "pt2") and not weights.is_file():
            raise UserError(
                f"{record.id} was not confirmed, so its weights were not kept.", "Choose a student of the front."
            )
        if kind == "safetensors":
            write_atomic(out, weights.read_bytes())
            return out
        if kind == "pt2":
            module = teacher if teacher is not None else _task_of(self.settings).teacher
            student = load_student(weights, module)
            if student.precision != "float32":
                raise UserError(f"{record.id} is int8, which a .pt2 file cannot hold here.", "Export it as .onnx.")
            return save_pt2(student, saved_example(weights), out)
        raise UserError(f"`{kind}` is not a format.", "Name the file .onnx, .safetensors or .pt2, or give --format.")

    def _export_onnx(self, record: Record, out: Path) -> Path:
        from latency_models.artifact import Artifact

        source = self.folder / record.artifact
        if not source.is_file() or Artifact.from_file(source, "float32").digest != record.artifact_digest:
            raise UserError(
                f"{source} is missing or no longer the file that was timed and scored.",
                "Restore it from a copy of the run, or search again.",
            )
        write_atomic(out, source.read_bytes())
        return out

    def _fact(self, key: str) -> Any:
        with open_ledger(self.folder, create=False) as ledger:
            return ledger.get_fact(key)


def search(
    teacher: nn.Module | str,
    data: object = None,
    *,
    latency_budget: str,
    loss: Loss | None = None,
    metric: Metric | None = None,
    style: Style = "auto",
    **settings: Any,
) -> Run:
    """Searches a teacher's neighbourhood for faster students.

    Args:
        teacher: a trained module, `path/teacher.py:build`, or a built-in task (`digits`, `fashion-mnist`).
        data: what `make_data()` would return (see `nas.data.as_data`), or `path/data.py:make_data`; not for built-in
            tasks.
        latency_budget: `2ms`, or `40%` of the teacher's latency.
        loss, metric: default to cross entropy and accuracy, without labels to agreement with the teacher.
        style: of the progress on standard error: `auto`, `rich`, `plain` or `silent`.
        settings: any other of `nas.config.Settings`, e.g. `time_budget="30m"`, `out="results/mine"`, `seed=1`.

    Returns:
        The finished run. Whether the budget was reached says `run.choice()`.

    Raises:
        UserError: bad input, before any work.
    """
    given: dict[str, object] = {**settings, "latency_budget": latency_budget}
    if isinstance(teacher, str):
        given |= {"task_or_teacher": teacher, "data": data}
        return start(load_settings(None, given), style=style, loss=loss, metric=metric)
    task_settings = load_settings(None, {**given, "task_or_teacher": IN_MEMORY})
    if data is None:
        raise UserError("There is no data.", "Give `data=(train, validation, test)`.")
    deadline = Deadline(task_settings.time_budget_s)
    task = make_task(type(teacher).__name__, teacher, as_data(data), loss, metric)
    return start(task_settings, task, style=style, deadline=deadline)


def start(
    settings: Settings,
    task: Task | None = None,
    *,
    style: Style = "auto",
    loss: Loss | None = None,
    metric: Metric | None = None,
    deadline: Deadline | None = None,
) -> Run:
    """A fresh run with these settings."""
    deadline = deadline or Deadline(settings.time_budget_s)
    if settings.out is not None:
        refuse_run(settings.out)
    progress = _progress(settings, deadline, style)
    with progress:
        task = task or _task_of(settings, progress, loss, metric)
        progress.phase("checking teacher and data")
        notes = check(task, onnx_bytes)
        folder = claimed_folder(settings.out, settings.task_or_teacher, wall_clock())
        for note in notes:
            progress.note(note)
        with own(folder):
            save_settings(settings, folder)
            _work(folder, settings, task, deadline, progress)
    return Run.open(folder)


def resume(
    folder: Path | str,
    teacher: nn.Module | None = None,
    data: object = None,
    *,
    loss: Loss | None = None,
    metric: Metric | None = None,
    style: Style = "auto",
) -> Run:
    """Goes on with a run that was cut off, with the time that is left of its budget; a finished one is returned.

    Args:
        folder: of the run.
        teacher, data: only where they were given from Python.
        loss, metric, style: as in `search`.
    """
    folder = Path(folder)
    settings = read_settings(folder)
    with own(folder):
        with open_ledger(folder, create=True) as ledger:
            spent_s = ledger.elapsed_s()
        deadline = Deadline(settings.time_budget_s, spent_s)
        with _progress(settings, deadline, style) as progress:
            if settings.task_or_teacher != IN_MEMORY:
                task = _task_of(settings, progress, loss, metric)
            elif teacher is None or data is None:
                raise UserError("This run's teacher was given from Python.", "Use nas.resume(folder, teacher, data).")
            else:
                task = make_task(type(teacher).__name__, teacher, as_data(data), loss, metric)
            check(task, onnx_bytes)
            _work(folder, settings, task, deadline, progress)
    return Run.open(folder)


def _task_of(
    settings: Settings, progress: Progress | None = None, loss: Loss | None = None, metric: Metric | None = None
) -> Task:
    name = settings.task_or_teacher
    if name in TASKS:
        if progress is not None:
            progress.phase(f"loading {name}")

        def tell(text: str, share: float) -> None:
            if progress is not None:
                progress.advance(0)

        return TASKS[name](data_dir=settings.data_dir, progress=tell)
    if ":" not in name:
        raise UserError(
            f"`{name}` is neither a built-in task nor a teacher.",
            f"The tasks are {', '.join(TASKS)}; a teacher is named `path/teacher.py:build`.",
        )
    if settings.data is None:
        raise UserError("There is no data for this teacher.", "Add --data path/data.py:make_data.")
    return load_task(name, settings.weights, settings.data, loss, metric)


def _progress(settings: Settings, deadline: Deadline, style: Style) -> Progress:
    chosen: Style = "silent" if settings.quiet else style
    return make_progress(sys.stderr, deadline.elapsed_s, deadline.left_s, chosen)


def _work(folder: Path, settings: Settings, task: Task, deadline: Deadline, progress: Progress) -> None:
    with open_ledger(folder, create=True) as ledger:
        digest = ledger.get_fact("weights_digest")
        if digest is not None and digest != task.weights_digest:
            raise UserError("The teacher's weights are not those this run began with.", "Start a fresh run.")
        ledger.set_fact("weights_digest", task.weights_digest)
        ledger.set_fact("metric", metric_name(task))
        bench = open_workbench(folder, settings, task, ledger, deadline, progress)
        _refuse_nothing_to_prune(bench.space)
        sites = bench.space.sites
        ledger.set_fact("sites", [[s.name, s.kind, list(s.choices)] for s in sites.values()])
        run_engine(bench)
        progress.phase("writing the report")
        records = ledger.records()
        teacher = ledger.get(Recipe(), 0)
        assert teacher is not None
        assert teacher.latency is not None
        front = front_of(records, teacher, metric=metric_name(task))
        ratio = settings.budget.as_ratio(teacher.latency.median_s)
        facts = run_facts(settings, task, bench.target, deadline, records, bench.space)
        publish(folder, front, records, sites, facts, f"{task.name}: accuracy against latency", ratio)
        ledger.add_elapsed(max(0.0, deadline.elapsed_s() - ledger.elapsed_s()))


def _refuse_nothing_to_prune(space: SearchSpace) -> None:
    if any(site.kind != "precision" for site in space.sites.values()):
        return
    reasons = "; ".join(f"{one.root}: {one.reason}" for one in space.unprunable) or "it has no layers with weights"
    raise UserError(
        f"There is nothing to prune in this teacher ({reasons}).",
        "Make its widths follow the weights' shapes (no hard-coded sizes), or search a network with hidden layers.",
    )


def metric_name(task: Task) -> str:
    """What the score is called in tables."""
    if task.metric is top1_accuracy:
        return "accuracy"
    return "agreement" if task.metric is agreement else "metric"


def run_facts(
    settings: Settings, task: Task, target: Target, deadline: Deadline, records: Sequence[Record], space: SearchSpace
) -> dict[str, str]:
    """What page and cards say of the run."""
    refused = "; ".join(f"{one.root} ({one.reason})" for one in space.unprunable)
    return {
        "teacher": f"{task.name}, {type(task.teacher).__name__}",
        "SHA-256 of the teacher's weights": task.weights_digest,
        "target": target.label,
        "latency budget": settings.latency_budget,
        "greatest accuracy drop": settings.max_accuracy_drop,
        "time": f"{duration(deadline.elapsed_s())} of {settings.time_budget}",
        "candidates": str(len(records) - 1),
        "seed": str(settings.seed),
        "left alone": refused or "nothing",
        "processor": environment(target).get("processor", platform.processor()),
        "versions": (
            f"Python {platform.python_version()}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
        ),
    }
