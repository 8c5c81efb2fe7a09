"""The built-in task `fashion-mnist`, on tiny IDX files."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from nas.errors import UserError
from nas.tasks import TASKS, fashion_mnist


def _write(path: Path, values: NDArray[np.uint8]) -> None:
    content = struct.pack(f">I{values.ndim}I", 0x0800 + values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for stem, n, suffix in (("train", 5020, ".gz"), ("t10k", 30, "")):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        _write(tmp_path / f"{stem}-images-idx3-ubyte{suffix}", images)
        _write(tmp_path / f"{stem}-labels-idx1-ubyte{suffix}", np.arange(n).astype(np.uint8) % 10)
    return tmp_path


@pytest.fixture
def _packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Untrained weights where the package keeps the trained ones."""
    torch.manual_seed(0)
    save_file(fashion_mnist.teacher_module().state_dict(), tmp_path / fashion_mnist.WEIGHTS)
    monkeypatch.setattr(fashion_mnist, "files", lambda package: tmp_path)


@pytest.mark.usefixtures("_packaged")
def test_the_task(data_dir: Path) -> None:
    task = TASKS["fashion-mnist"](data_dir=data_dir)
    assert (task.name, task.n_classes) == ("fashion-mnist", 10)
    assert [len(split) for split in (task.data.train, task.data.validation, task.data.test)] == [20, 5000, 30]
    assert task.data.test.inputs[0].shape == (30, 1, 28, 28)
    assert task.data.test.labels is not None
    assert task.data.test.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    torch.manual_seed(0)
    expected = fashion_mnist.teacher_module()
    assert torch.equal(task.teacher.state_dict()["fc.weight"], expected.state_dict()["fc.weight"])


def test_images_are_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        TASKS["fashion-mnist"](data_dir=tmp_path)
    assert "train-images-idx3-ubyte[.gz] is missing" in caught.value.problem
    assert "apt-get install dataset-fashion-mnist" in caught.value.remedy
    assert "--data-dir" in caught.value.remedy


def test_weights_are_missing(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "files", lambda package: data_dir)
    with pytest.raises(UserError, match=r"fashion_mnist\.safetensors are missing from the installed package"):
        fashion_mnist.task(data_dir)
