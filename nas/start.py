"""Starting a search and going on with one: settings to task to run."""

import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import nn

from nas.config import Settings, load_settings, read_settings, save_settings
from nas.data import Loss, Metric, as_data
from nas.deadline import Deadline, deadline_of, wall_clock
from nas.engine import search as run_engine
from nas.errors import BAD_INPUT, UserError
from nas.files import SETTINGS_FILE
from nas.fronts import fronts_of
from nas.latencies import everywhere
from nas.ledger import LEDGER_FILE, open_ledger
from nas.loading import task_of
from nas.lock import own
from nas.preflight import check
from nas.progress import Progress, Style, make_progress
from nas.record import Record
from nas.run import Run
from nas.run_folder import claimed_folder, refuse_run
from nas.teacher import Task, make_task, metric_name
from nas.time_used import TimeUsed
from nas.words import duration
from nas.workbench import budget_ratio, open_workbench, teacher_of
from search_spaces.space import SearchSpace

IN_MEMORY = "(given from Python)"


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
    deadline = deadline_of(task_settings.duration)
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
    deadline = deadline or deadline_of(settings.duration)
    if settings.out is not None:
        refuse_run(settings.out)
    used = TimeUsed()
    with _progress(settings, deadline, style, used) as progress:
        task = task or task_of(settings, progress, loss, metric)
        progress.phase("checking teacher and data")
        notes = check(task)
        folder = claimed_folder(settings.out, settings.task_or_teacher, wall_clock())
        for note in notes:
            progress.note(note)
        with own(folder):
            save_settings(settings, folder)
            try:
                _work(folder, settings, task, deadline, progress, used)
            except UserError as error:
                if error.exit_status == BAD_INPUT:  # nothing was searched: the name is free again
                    for name in (LEDGER_FILE, SETTINGS_FILE):
                        (folder / name).unlink(missing_ok=True)
                raise
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
        deadline = deadline_of(settings.duration, spent_s)
        used = TimeUsed()
        with _progress(settings, deadline, style, used) as progress:
            if settings.task_or_teacher != IN_MEMORY:
                task = task_of(settings, progress, loss, metric)
            elif teacher is None or data is None:
                raise UserError("This run's teacher was given from Python.", "Use nas.resume(folder, teacher, data).")
            else:
                task = make_task(type(teacher).__name__, teacher, as_data(data), loss, metric)
            check(task)
            _work(folder, settings, task, deadline, progress, used)
    return Run.open(folder)


def _progress(settings: Settings, deadline: Deadline, style: Style, used: TimeUsed) -> Progress:
    chosen: Style = "silent" if settings.quiet else style
    return make_progress(sys.stderr, deadline.elapsed_s, deadline.left_s, chosen, watch=used.at)


def _work(folder: Path, settings: Settings, task: Task, deadline: Deadline, progress: Progress, used: TimeUsed) -> None:
    with open_ledger(folder, create=True) as ledger, used.kept_in(ledger):
        digest = ledger.get_fact("weights_digest")
        if digest is not None and digest != task.weights_digest:
            raise UserError("The teacher's weights are not those this run began with.", "Start a fresh run.")
        ledger.set_fact("weights_digest", task.weights_digest)
        ledger.set_fact("metric", metric_name(task))
        with open_workbench(folder, settings, task, ledger, deadline, progress) as bench:
            _refuse_nothing_to_prune(bench.space)
            sites = bench.space.sites
            ledger.set_fact("sites", [[s.name, s.kind, list(s.choices)] for s in sites.values()])
            run_engine(bench)
        progress.phase("writing the report")
        # Here, as importing what draws and tabulates takes CPU seconds that a search that is cut off never needs.
        from nas.publish import publish

        records = ledger.records()
        fronts = fronts_of(records, teacher_of(bench), tuple(bench.models), metric=metric_name(task))
        # As the teacher's record says, not asked again: a target may be out of reach by now.
        environments = {label: latency.environment for label, latency in everywhere(teacher_of(bench)).items()}
        ratios = {label: budget_ratio(bench, label) for label in bench.models}
        facts = run_facts(settings, task, environments, deadline, records, bench.space)
        title = f"{task.name}: accuracy against latency"
        publish(folder, fronts, records, sites, facts, title, ratios, used.times)
        ledger.add_elapsed(max(0.0, deadline.elapsed_s() - ledger.elapsed_s()))


def _refuse_nothing_to_prune(space: SearchSpace) -> None:
    if any(site.kind != "precision" for site in space.sites.values()):
        return
    reasons = "; ".join(f"{one.root}: {one.reason}" for one in space.unprunable) or "it has no layers with weights"
    raise UserError(
        f"There is nothing to prune in this teacher ({reasons}).",
        "Make its widths follow the weights' shapes (no hard-coded sizes), or search a network with hidden layers.",
    )


def run_facts(
    settings: Settings,
    task: Task,
    environments: Mapping[str, Mapping[str, str]],
    deadline: Deadline,
    records: Sequence[Record],
    space: SearchSpace,
) -> dict[str, str]:
    """What page and cards say of the run.

    Args:
        settings, task, deadline, records, space: of the run.
        environments: of each target, by label.
    """
    refused = "; ".join(f"{one.root} ({one.reason})" for one in space.unprunable)
    where = {
        f"target {label}": ", ".join(f"{key} {value}" for key, value in facts.items())
        for label, facts in environments.items()
    }
    return {
        "teacher": f"{task.name}, {type(task.teacher).__name__}",
        "SHA-256 of the teacher's weights": task.weights_digest,
        "latency budget": settings.latency_budget,
        "greatest accuracy drop": settings.max_accuracy_drop,
        "time": f"{duration(deadline.elapsed_s())} of {settings.time_budget}",
        "candidates": str(len(records) - 1),
        "seed": str(settings.seed),
        "left alone": refused or "nothing",
        **where,
        "trained and scored with": (
            f"Python {platform.python_version()}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
        ),
    }
