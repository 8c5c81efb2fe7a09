"""Weights from a file that may come from anywhere: nothing in it is ever executed."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nas.errors import UserError

NESTED_UNDER = ("state_dict", "model_state_dict", "model", "state")
"""Keys under which checkpoints keep the weights beside an optimizer's state and the like."""

_CONVERT = (
    "Where you trust its origin, convert it once: load it there with torch.load(path, weights_only=False) and write "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')."
)


def load_weights(module: nn.Module, path: Path) -> None:
    """Fills the module with the weights of a file.

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
