"""Getting a user's teacher and data in: `file.py:function`."""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from nas.config import Settings
from nas.data import Data, Loss, Metric, as_data
from nas.errors import UserError
from nas.progress import Progress
from nas.tasks import TASKS
from nas.teacher import Task, make_task
from nas.weights_file import load_weights


@dataclass(frozen=True)
class LoadedData:
    """What a user's data file gives: the sets, and its functions `loss` and `metric` where it defines them."""

    data: Data
    loss: Loss | None
    metric: Metric | None


def load_task(
    teacher: str, weights: Path | None, data: str, loss: Loss | None = None, metric: Metric | None = None
) -> Task:
    """The task of `path/teacher.py:build` and `path/data.py:make_data`; arguments go before functions of the file.

    Raises:
        UserError: see `load_teacher`, `load_data` and `nas.teacher.make_task`.
    """
    loaded = load_data(data)
    name = Path(teacher.rpartition(":")[0]).stem
    return make_task(name, load_teacher(teacher, weights), loaded.data, loss or loaded.loss, metric or loaded.metric)


def task_of(
    settings: Settings, progress: Progress | None = None, loss: Loss | None = None, metric: Metric | None = None
) -> Task:
    """The task that settings name: a built-in one, or a user's teacher with data.

    Args:
        settings: `task_or_teacher`, `weights`, `data`, `data_dir`.
        progress: told when a built-in teacher is trained on first use.
        loss, metric: see `load_task`.

    Raises:
        UserError: no such task, weights or data for a built-in one, or a teacher without data; see `load_task`.
    """
    name = settings.task_or_teacher
    if name in TASKS:
        if settings.weights is not None or settings.data is not None:
            given = "--weights" if settings.weights is not None else "--data"
            raise UserError(
                f"{given} is for teachers of your own; {name} has its own.",
                f"Leave {given} out, or name the teacher: path/teacher.py:build.",
            )
        if progress is not None:
            progress.phase(f"loading {name}")

        shown = ""

        def tell(text: str, share: float) -> None:
            nonlocal shown
            if progress is not None and text != shown:
                progress.phase(text)
            elif progress is not None:
                progress.advance(0)
            shown = text

        return TASKS[name](data_dir=settings.data_dir, progress=tell)
    if ":" not in name:
        raise UserError(
            f"`{name}` is neither a built-in task nor a teacher.",
            f"The tasks are {', '.join(TASKS)}; a teacher is named `path/teacher.py:build`.",
        )
    if settings.data is None:
        raise UserError("There is no data for this teacher.", "Add --data path/data.py:make_data.")
    return load_task(name, settings.weights, settings.data, loss, metric)


def load_teacher(spec: str, weights: Path | None = None) -> nn.Module:
    """The module that a user's factory builds, with its weights.

    Args:
        spec: `path/teacher.py:build` or `package.module:build`; called without arguments.
        weights: `.safetensors`, or a torch checkpoint: a state dict, or a dict with one under a key of
            `weights_file.NESTED_UNDER`. None where the factory loads them itself.

    Raises:
        UserError: file or function missing, it fails, not a module, or weights that are damaged, do not fit or want to
            run code.
    """
    _, teacher = _made(spec)
    if not isinstance(teacher, nn.Module):
        raise UserError(
            f"{spec} returned a {type(teacher).__name__}, not a torch.nn.Module.", "Let it return the network itself."
        )
    if weights is not None:
        load_weights(teacher, weights)
    return teacher


def load_data(spec: str) -> LoadedData:
    """What `path/data.py:make_data` gives, see `nas.data.as_data`; `loss` and `metric` are found by name beside it.

    Raises:
        UserError: file or function missing, it fails, or sets in a form that `as_data` refuses.
    """
    module, made = _made(spec)
    return LoadedData(as_data(made), _optional(module, "loss"), _optional(module, "metric"))


def _made(spec: str) -> tuple[ModuleType, object]:
    """The module of a user's function, and what the function returns."""
    module, function = _find(spec)
    try:
        return module, function()
    except UserError:
        raise
    except Exception as error:  # whatever the user's code runs into
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"{spec} failed: {type(error).__name__}: {error} ({last.filename}, line {last.lineno}).",
            "Mend the function.",
        ) from error


def _find(spec: str) -> tuple[ModuleType, Callable[[], object]]:
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name:
        raise UserError(f"{spec} does not name a function.", "Write file.py:function or package.module:function.")
    module = _import_file(Path(place)) if place.endswith(".py") else _import_dotted(place)
    function = getattr(module, name, None)
    if not callable(function):
        defined = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__ and not key.startswith("_")
        ]
        raise UserError(f"{place} has no function {name}.", f"It defines {', '.join(defined) or 'no function'}.")
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]
    if required:
        raise UserError(
            f"{spec} takes arguments without defaults: {', '.join(required)}.",
            "It is called without arguments: give them defaults, or name a function that fills them in.",
        )
    return module, function


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UserError(f"There is no file {path}.", "Give the path from the current folder, or an absolute one.")
    name = f"understudy_{path.stem}_{sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"{path} cannot be imported.", "Give a Python source file.")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # dataclasses and pickling look a class's module up here
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that files beside it are found and shadow nothing
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's code runs into
        del sys.modules[name]
        raise _not_imported(str(path), error) from error
    return module


def _import_dotted(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"The module {name} cannot be imported: {error}.",
            "Install it, set PYTHONPATH, or give the path of a file that ends in .py.",
        ) from error
    except Exception as error:  # whatever the user's code runs into
        raise _not_imported(f"The module {name}", error) from error


def _not_imported(what: str, error: Exception) -> UserError:
    return UserError(f"{what} cannot be imported: {type(error).__name__}: {error}.", "Mend the file.")


def _optional(module: ModuleType, name: str) -> Callable[..., Any] | None:
    found = getattr(module, name, None)
    return found if callable(found) else None
