"""One run of this project's search, in a process of its own, through the public Python interface."""

import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

import nas
from clutter.cpu_time import tree_cpu_s
from clutter.results import OURS, ROOT, Entry, point_of
from nas.files import SETTINGS_FILE
from nas.run import Run
from nas.teacher import Task

LATENCY_BUDGET = "30%"
"""A search has to be given one. The score knows none: it counts the whole front."""

P = ParamSpec("P")
T = TypeVar("T")


def in_own_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls a function in a fresh process, so that no run profits from what an earlier one left warm.

    Raises:
        BrokenProcessPool: it crashed.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def search_once(load: Callable[[], Task], budget_s: float, seed: int, folder: Path, time_budget: str = "") -> Entry:
    """Searches once and says what came of it and what it cost.

    CPU seconds run from before the call of `nas.search` until after it; loading the data, and Python's import of
    the package, come before. The threads of training are limited to one, as the peers' are; nothing else is set.

    Args:
        load: gives teacher and data.
        budget_s: CPU seconds.
        seed: of the search.
        folder: of the run; one that is there already is a run that was cut off, and is removed.
        time_budget: what is asked for, by default `cpu:<budget_s>s`.
    """
    task = load()
    if (folder / SETTINGS_FILE).is_file():
        shutil.rmtree(folder)
    search = nas.search
    before_s, start_s = tree_cpu_s(), time.monotonic()
    run = search(
        task.teacher,
        task.data,
        latency_budget=LATENCY_BUDGET,
        time_budget=time_budget or f"cpu:{budget_s:g}s",
        out=folder,
        seed=seed,
        training_threads=1,
        style="plain",
    )
    cpu_s, wall_s = tree_cpu_s() - before_s, time.monotonic() - start_s
    return entry_of(run, task.name, budget_s, seed, cpu_s, wall_s)


def entry_of(run: Run, task: str, budget_s: float, seed: int, cpu_s: float, wall_s: float) -> Entry:
    """The front that a run chose on validation data: all that it scored on the test set, as it scores nothing else."""
    records = [record for record in (*run.front.members, *run.front.dominated) if record.test_accuracy is not None]
    points = tuple(point_of(record.id, run.artifact_file(record), record.accuracy) for record in records)
    scores = {
        record.id: {
            "test_accuracy": record.test_accuracy,
            "ratio": record.latency.ratio if record.latency else None,
            "n_parameters": record.n_parameters,
            "train_s": record.train_s,
            "note": record.note,
        }
        for record in records
    }
    notes = {"run": run.folder.name, "commit": commit(), "n_candidates": len(run.records) - 1, "run_says": scores}
    return Entry(OURS, task, budget_s, seed, cpu_s, wall_s, points, notes)


def commit() -> str:
    """The commit that runs, with a star where the tree differs from it; empty outside a repository."""
    words = []
    for command in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", "nas", "search_spaces")):
        done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=False)
        words.append(done.stdout.strip())
    return words[0] + ("*" if words[1] else "")
