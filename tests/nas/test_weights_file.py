"""Weights from files, every damaged and hostile one among them."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from nas.errors import UserError
from nas.weights_file import load_weights


class _Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


def _refused(module: nn.Module, path: Path) -> UserError:
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_weights(module, path)
    assert caught.value.exit_status == 2
    assert caught.value.remedy
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    return caught.value


@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model", "state"])
def test_checkpoints_with_the_weights_at_the_top_or_nested(tmp_path: Path, key: str | None) -> None:
    source, module = nn.Linear(3, 2), nn.Linear(3, 2)
    weights = source.state_dict()
    torch.save(weights if key is None else {"epoch": 3, key: weights}, tmp_path / "w.pt")
    load_weights(module, tmp_path / "w.pt")
    assert torch.equal(module.weight, source.weight)


def test_safetensors_with_a_dataparallel_prefix(tmp_path: Path) -> None:
    source, module = nn.Linear(3, 2), nn.Linear(3, 2)
    save_file({f"module.{k}": v for k, v in source.state_dict().items()}, tmp_path / "w.safetensors")
    load_weights(module, tmp_path / "w.safetensors")
    assert torch.equal(module.weight, source.weight)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("writer", ["torch", "torch_legacy", "pickle"])
def test_a_checkpoint_that_wants_to_run_code(tmp_path: Path, writer: str, protocol: int) -> None:
    marker, path = tmp_path / "ran", tmp_path / "w.pt"
    content = {"weight": _Payload(marker)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    else:
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=writer == "torch")
    error = _refused(nn.Linear(3, 2), path)
    assert not marker.exists()
    assert "was refused: it holds more than tensors, and loading such a file executes code from it" in error.problem
    assert "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')" in error.remedy
    with path.open("rb") as file:  # the payload is a live one
        torch.load(file, weights_only=False) if writer != "pickle" else pickle.load(file)
    assert marker.exists()


def test_a_whole_pickled_module_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 2), tmp_path / "w.pt")
    assert "GLOBAL torch.nn.modules.linear.Linear" in _refused(nn.Linear(3, 2), tmp_path / "w.pt").problem


def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(3, 2)).save(tmp_path / "w.pt")  # type: ignore[no-untyped-call]
    assert "it is a TorchScript program" in _refused(nn.Linear(3, 2), tmp_path / "w.pt").problem


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.95])
@pytest.mark.parametrize("kind", ["safetensors", "pt", "legacy.pt"])
def test_a_file_that_is_cut_short(tmp_path: Path, kind: str, kept: float) -> None:
    module, path = nn.Linear(30, 20), tmp_path / f"w.{kind}"
    if kind == "safetensors":
        save_file(module.state_dict(), path)
    else:
        torch.save(module.state_dict(), path, _use_new_zipfile_serialization=kind == "pt")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert "is cut short or no checkpoint" in _refused(module, path).problem


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ({"weight": torch.zeros(2, 3)}, "missing: bias."),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "x": torch.zeros(1)}, "unexpected: x."),
        (
            {"weight": torch.zeros(4, 3), "bias": torch.zeros(2)},
            "of another shape: weight (4, 3) instead of (2, 3).",
        ),
        ({"epoch": 3, "best": 0.5}, "holds no state dict but the keys epoch, best."),
        ([1, 2], "holds no state dict but no dict."),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, content: object, fragment: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    assert fragment in _refused(nn.Linear(3, 2), tmp_path / "w.pt").problem


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_text("hello, this is text")
    assert "is cut short or no checkpoint" in _refused(nn.Linear(3, 2), tmp_path / "w.pt").problem
    assert "There is no weights file" in _refused(nn.Linear(3, 2), tmp_path / "none.pt").problem


def test_old_checkpoints_lack_batch_counters(tmp_path: Path) -> None:
    source, module = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    source.running_mean = torch.tensor([3.0, 4.0])
    weights = {k: v for k, v in source.state_dict().items() if k != "num_batches_tracked"}
    save_file(weights, tmp_path / "w.safetensors")
    load_weights(module, tmp_path / "w.safetensors")
    assert module.running_mean is not None
    assert module.running_mean.tolist() == [3.0, 4.0]
