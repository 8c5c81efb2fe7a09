"""Getting a user's teacher and data in: `file.py:function`, and weights that never run code."""

import importlib
import importlib.util
import inspect
import pickle
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nas.config import Settings
from nas.data import Data, Loss, Metric, as_data
from nas.errors import UserError
from nas.progress import Progress
from nas.tasks import TASKS
from nas.teacher import Task, make_task

NESTED_UNDER = ("state_dict", "model_state_dict", "model", "state")
"""Keys under which checkpoints keep the weights beside an optimizer's state and the like."""

_CONVERT = (
    "Where you trust its origin, convert it once: load it there with torch.load(path, weights_only=False) and write "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')."
)


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
        UserError: no such task, or a teacher without data; see `load_task`.
    """
    name = settings.task_or_teacher
    if name in TASKS:
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
            `NESTED_UNDER`. None where the factory loads them itself.

    Raises:
        UserError: file or function missing, not a module, or weights that are damaged, do not fit or want to run code.
    """
    teacher = _call(spec)
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
        UserError: file or function missing, or sets in a form that `as_data` refuses.
    """
    module, function = _find(spec)
    made = function()
    return LoadedData(as_data(made), _optional(module, "loss"), _optional(module, "metric"))


def load_weights(module: nn.Module, path: Path) -> None:
    """Fills the module with the weights of a file. Nothing in the file is ever executed.

    Raises:
        UserError: the file is missing, damaged, wants to run code, or its weights are not this module's.
    """
    if not path.is_file():
        raise UserError(f"There is no weights file {path}.", "Give the path of a .safetensors file or a checkpoint.")
    read = _read_safetensors if path.suffix == ".safetensors" else _read_checkpoint
    weights = _fitting_names(module, read(path))
    expected = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    # Checkpoints older than torch 0.4.1 lack the batch counters, which evaluation never reads.
    missing = [name for name in expected if name not in weights and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in weights if name not in expected]
    other_shape = [
        f"{name} {tuple(value.shape)} instead of {tuple(expected[name].shape)}"
        for name, value in weights.items()
        if name in expected and value.shape != expected[name].shape
    ]
    problems = [
        f"{words}: {_some(names)}"
        for words, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", other_shape))
        if names
    ]
    if problems:
        raise UserError(
            f"The weights in {path} are not those of the teacher. {'; '.join(problems)}.",
            "Build the network with the settings that these weights were trained with.",
        )
    module.load_state_dict(weights, strict=False)


def _some(names: list[str], n_shown: int = 5) -> str:
    rest = f" and {len(names) - n_shown} more" if len(names) > n_shown else ""
    return ", ".join(names[:n_shown]) + rest


def _fitting_names(module: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix that DataParallel and torch.compile put before every name."""
    own = set(module.state_dict())
    for prefix in ("module.", "_orig_mod."):
        if weights and all(name.startswith(prefix) and name not in own for name in weights):
            return {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise _damaged(path, error) from error
    return weights


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Only ever with `weights_only=True`: an ordinary load runs whatever code the file names."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not path.read_bytes().startswith((b"PK", b"\x80")):
            raise _damaged(path, error) from error
        raise _runs_code(path, _reason(str(error))) from error
    except RuntimeError as error:
        if "TorchScript" in str(error):
            raise _runs_code(path, "it is a TorchScript program") from error
        raise _damaged(path, error) from error
    except (EOFError, KeyError, IndexError, ValueError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error
    return _state_dict(path, content)


def _reason(message: str) -> str:
    """Torch's own word on what was refused, e.g. `GLOBAL posix.system`."""
    lines = [line.strip() for line in message.splitlines() if "GLOBAL" in line or "Unsupported operand" in line]
    return lines[0].removeprefix("WeightsUnpickler error:").split(". ")[0].strip() if lines else "no plain tensors"


def _runs_code(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path} was refused: it holds more than tensors, and loading such a file executes code from it ({reason}).",
        _CONVERT,
    )


def _damaged(path: Path, error: Exception) -> UserError:
    detail = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(
        f"{path} is cut short or no checkpoint ({detail}).", "Copy the file again, or save the weights once more."
    )


def _state_dict(path: Path, content: object) -> dict[str, Tensor]:
    for key in NESTED_UNDER:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        found = f"the keys {_some([str(key) for key in content])}" if isinstance(content, Mapping) else "no dict"
        raise UserError(
            f"{path} holds no state dict but {found}.",
            f"Save model.state_dict() itself, or under one of the keys {', '.join(NESTED_UNDER)}.",
        )
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _call(spec: str) -> object:
    _, function = _find(spec)
    return function()


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
        raise UserError(f"{path} cannot be imported: {type(error).__name__}: {error}.", "Mend the file.") from error
    return module


def _import_dotted(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"The module {name} cannot be imported: {error}.",
            "Install it, set PYTHONPATH, or give the path of a file that ends in .py.",
        ) from error


def _optional(module: ModuleType, name: str) -> Callable[..., Any] | None:
    found = getattr(module, name, None)
    return found if callable(found) else None
