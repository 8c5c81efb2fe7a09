"""Built-in tasks: a teacher with its real data, by name."""

from collections.abc import Callable
from pathlib import Path

from nas.teacher import Task

Progress = Callable[[str, float], None]
"""(what is being done, share that is done from 0 to 1)."""


def _silent(text: str, share: float) -> None:
    """Shows nothing."""


def _digits(data_dir: Path | None = None, progress: Progress = _silent) -> Task:
    from nas.tasks import digits

    return digits.task(progress)


def _fashion_mnist(data_dir: Path | None = None, progress: Progress = _silent) -> Task:
    from nas.tasks import fashion_mnist

    return fashion_mnist.task(data_dir)


TASKS: dict[str, Callable[..., Task]] = {"digits": _digits, "fashion-mnist": _fashion_mnist}
"""Name to task(data_dir=None, progress=...); a task that brings its data along ignores `data_dir`."""
