"""Folders for runs."""

import re
from datetime import datetime
from itertools import count
from pathlib import Path

from nas.errors import UserError
from nas.files import FullDiskStops
from nas.ledger import LEDGER_FILE
from nas.lock import own


def refuse_run(folder: Path) -> None:
    """Refuses a folder that holds a run already, before any work.

    Raises:
        UserError: it holds one; where that one is being searched, its owner is named.
    """
    if (folder / LEDGER_FILE).exists():
        with own(folder):
            raise UserError(f"{folder} holds a run already.", f"Go on with `nas resume {folder}`, or name another.")


def claimed_folder(out: Path | None, task: str, now: datetime) -> Path:
    """The folder `out`, made where missing, or a fresh one under `results/`.

    Raises:
        UserError: it cannot be made.
    """
    folder = Path("results") if out is None else out
    try:
        with FullDiskStops(folder):
            if out is None:
                return fresh_run_folder(folder, task, now)
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be made ({error.strerror}).", "Name another with --out, in a folder of yours."
        ) from error
    return folder


def fresh_run_folder(root: Path, task: str, now: datetime) -> Path:
    """Make and return a new folder, e.g. `results/digits-20261122-031500`, with a counter behind it where taken.

    Args:
        root: folder of all runs, made where missing.
        task: a built-in task, or `path/teacher.py:build`, of which the file's name is used.
        now: date and time in the name.
    """
    place, _, _ = task.rpartition(":")
    word = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(place or task).stem).strip("-") or "run"
    name = f"{word}-{now:%Y%m%d-%H%M%S}"
    root.mkdir(parents=True, exist_ok=True)
    for n in count(1):
        folder = root / (name if n == 1 else f"{name}-{n}")
        try:
            # Making it is what claims the name: of two searches started in one second each gets its own.
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("count() does not end")
