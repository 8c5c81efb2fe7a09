"""Files that are there whole or not at all, and a full disk told in plain words."""

import errno
import json
import os
import sqlite3
from pathlib import Path
from typing import Any, final

from nas.errors import UserError

EXIT_DISK_FULL = 5
SETTINGS_FILE = "settings.yaml"
"""Its presence makes a folder a run."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_IN_WORDS = tuple(os.strerror(number) for number in _FULL)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that, killed at any moment, either the old content or the new is at `path`.

    The content goes to a hidden file beside it, is forced to the disk, and takes the name last. Missing folders are
    made.

    Raises:
        UserError: the disk is full; what was at `path` is unchanged and nothing half-written stays.
        OSError: any other failure of the file system, likewise.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with FullDiskStops(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically.

    Raises:
        ValueError: the value holds NaN or inf, or what JSON has no word for.
        UserError: the disk is full.
    """
    write_atomic(path, (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode())


def disk_full(path: Path) -> UserError:
    """What to tell the user where the disk that holds `path` is full; names the run that the path lies in, if any."""
    runs = [folder for folder in (path, *path.parents) if (folder / SETTINGS_FILE).is_file()]
    remedy = f"Free some space and go on with `nas resume {runs[0]}`." if runs else "Free some space and try again."
    return UserError(f"The disk is full: {path} could not be written.", remedy, exit_status=EXIT_DISK_FULL)


@final
class FullDiskStops:
    """Context manager: a full disk met anywhere inside becomes the `UserError` of `disk_full(path)`.

    It is recognised behind other libraries' errors too, by their causes (Optuna and SQLAlchemy wrap SQLite's) or by
    the operating system's words in them (safetensors). All other exceptions pass unchanged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, UserError) and _says_full(error):
            raise disk_full(self.path) from error


def _says_full(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        if isinstance(seen, sqlite3.Error) and getattr(seen, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return True
        if any(words in str(seen) for words in _FULL_IN_WORDS):
            return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False


def _sync_folder(folder: Path) -> None:
    """Force the new name to the disk, so that it outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
