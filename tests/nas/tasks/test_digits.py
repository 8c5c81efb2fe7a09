"""The built-in task `digits`: its split, its training and its cache."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nas.errors import UserError
from nas.tasks import TASKS, digits
from nas.teacher import run_batched, top1_accuracy

QUICK = digits.Settings(widths=(8, 16), n_blocks=(1, 1), n_epochs=4)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_splits_hold_every_digit_once_and_every_class() -> None:
    data = digits.load_splits()
    assert [len(split) for split in (data.train, data.validation, data.test)] == [1100, 300, 397]
    assert data.train.inputs[0].shape == (1100, 1, 8, 8)
    assert data.train.inputs[0].dtype == torch.float32
    both = torch.cat([split.inputs[0].flatten(1) for split in (data.train, data.validation, data.test)])
    assert len(np.unique(both.numpy(), axis=0)) == 1797
    for split in (data.train, data.validation, data.test):
        assert split.labels is not None
        shares = np.bincount(split.labels.numpy()) / len(split)
        assert len(shares) == 10
        assert 0.09 < shares.min() < shares.max() < 0.11
    assert float(both.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(both.std()) == pytest.approx(1.0, abs=0.01)


def test_the_teacher_is_trained_once_then_read(tmp_path: Path) -> None:
    shares: list[float] = []
    task = digits.task(lambda text, share: shares.append(share), QUICK)
    assert shares == [0.0, 0.25, 0.5, 0.75, 1.0]
    (path,) = (tmp_path / "understudy").iterdir()
    assert path.name == f"digits-{QUICK.digest}.safetensors"
    again = digits.task(lambda text, share: shares.append(share), QUICK)
    assert len(shares) == 5
    assert again.weights_digest == task.weights_digest
    assert (task.name, task.n_classes) == ("digits", 10)
    labels = task.data.test.labels
    assert labels is not None
    assert top1_accuracy(run_batched(task.teacher, task.data.test).numpy(), labels.numpy()) > 0.8


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    first = digits.task(settings=QUICK)
    (path,) = (tmp_path / "understudy").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    torch.manual_seed(99)
    assert digits.task(settings=QUICK).weights_digest == first.weights_digest
    assert path.stat().st_size > 100


def test_settings_have_digests_of_their_own() -> None:
    assert digits.Settings(seed=1).digest != digits.Settings().digest == digits.Settings().digest


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="The trained teacher cannot be kept in"):
        digits.task(settings=digits.Settings(widths=(4,), n_blocks=(1,), n_epochs=1))


def test_shifts_move_whole_images_by_one_pixel_at_most() -> None:
    image = torch.zeros(1, 1, 4, 4)
    image[0, 0, 1, 1] = 5.0
    moved = digits.shifted(image.expand(200, -1, -1, -1), 1, torch.Generator().manual_seed(0))
    places = {tuple(place) for place in (moved[:, 0] == 5.0).nonzero()[:, 1:].tolist()}
    assert places == {(row, column) for row in range(3) for column in range(3)}
    assert torch.equal(moved.flatten(1).sum(1), torch.full((200,), 5.0))


@pytest.mark.slow
def test_the_real_teacher_is_good() -> None:
    task = TASKS["digits"]()
    labels = task.data.test.labels
    assert labels is not None
    assert top1_accuracy(run_batched(task.teacher, task.data.test).numpy(), labels.numpy()) >= 0.98
