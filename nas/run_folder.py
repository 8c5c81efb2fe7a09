"""Names for runs."""

import re
from datetime import datetime
from itertools import count
from pathlib import Path


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
