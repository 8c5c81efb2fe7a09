import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from latency_models.artifact import Artifact
from latency_models.backend import BACKENDS
from latency_models.errors import DeviceError, LatencyError
from latency_models.latency import Visit
from latency_models.limits import Limits, limits_of
from latency_models.measured import Measured
from latency_models.open import open_model
from latency_models.target import Processor, Remote, Target
from latency_models.timing import Plan
from tests.latency_models.contract import FEED, feed_of, two_input_network

FAKE = "tests.latency_models.fake_backend"
FAKE_FEED = {"x": np.array([1.0, 2.0], np.float32)}
SHORT = Plan(n_pairs=2, warm_up_window=1, warm_up_max_s=0.0)
LIMITS = Limits(start_s=20, load_s=1.0, sample_s=1.0)
BOARD = Target(
    name="board",
    runtime="tvm",
    access="rpc",
    processor=Processor(),
    remote=Remote(connect_s=1, run_s=1),
    precisions=("float32",),
)


def artifact(folder: Path, does: str) -> Artifact:
    path = folder / f"{does.replace(' ', '-').replace(':', '')}.onnx"
    path.write_text(does)
    return Artifact.from_file(path, "float32")


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake board that answers as long as a file is there; where every attempt to reach it is written."""
    monkeypatch.setitem(BACKENDS, ("rpc", "tvm", "cpu"), FAKE)
    monkeypatch.setenv("FAKE_DEVICE", str(tmp_path / "device"))
    monkeypatch.setenv("FAKE_STARTS", str(tmp_path / "starts"))
    (tmp_path / "device").touch()
    return tmp_path / "starts"


@pytest.fixture
def board(tmp_path: Path, starts: Path, clock: Clock) -> Iterator[Measured]:
    with Measured(BOARD, artifact(tmp_path, "sleeps 0.001"), FAKE_FEED, 0, SHORT, LIMITS, clock) as model:
        yield model


def n_starts(starts: Path) -> int:
    return len(starts.read_text().splitlines()) if starts.exists() else 0


def test_onnx_runtime_is_timed_in_a_process_of_its_own(tmp_path: Path) -> None:
    teacher = two_input_network(tmp_path / "teacher.onnx")
    student = two_input_network(tmp_path / "student.onnx", (2.0, 2.0))
    model = open_model(Target(), teacher, FEED, seed=1, plan=Plan(n_pairs=8))
    assert isinstance(model, Measured)
    with model:
        first = model.latency(student)
        again = model.latency(student, first.visits, anchor_s=3.0)
        assert model.worker_pid not in (None, os.getpid())
        assert model.environment()["n_threads"] == "1"
        outputs = model.outputs(student, [feed_of([1, 2], [10, 20]), FEED])
        assert model.latency_from(again.visits, 3.0) == again
    np.testing.assert_array_equal(outputs[0][0], [[19, 32]])
    np.testing.assert_array_equal(outputs[1][0], [[6, 8]])
    assert model.worker_pid is None
    assert (len(first.visits), len(again.visits), again.n_samples) == (1, 2, 16)
    assert again.visits[0] == first.visits[0]
    assert first.source == "measured"
    assert again.median_s == pytest.approx(3 * again.ratio)


def test_several_candidates_are_interleaved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, ("local", "onnxruntime", "cpu"), FAKE)
    with Measured(Target(), artifact(tmp_path, "sleeps 0.001"), FAKE_FEED, 0, SHORT, LIMITS) as model:
        found = model.visits({"a": artifact(tmp_path, "sleeps 0.001"), "b": artifact(tmp_path, "sleeps 0.005")})
        assert all(isinstance(one, Visit) and len(one.candidate_s) == 2 for one in found.values())
        assert min(found["b"].candidate_s) >= 0.005
        assert found["a"].anchor_s == found["b"].anchor_s  # sampled once for both
        assert model.kernels(artifact(tmp_path, "sleeps 0.001"))[0].seconds == 0.5


@pytest.mark.parametrize("does", ["load: hangs", "run: hangs", "load: segfaults", "run: segfaults", "is refused"])
def test_a_local_candidate_that_fails_costs_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    monkeypatch.setitem(BACKENDS, ("local", "onnxruntime", "cpu"), FAKE)
    with Measured(Target(), artifact(tmp_path, "sleeps 0.001"), FAKE_FEED, 0, SHORT, LIMITS) as model:
        with pytest.raises(LatencyError) as failed:
            model.latency(artifact(tmp_path, does))
        assert not isinstance(failed.value, DeviceError)
        assert model.latency(artifact(tmp_path, "sleeps 0.004")).ratio > 1


def test_a_precision_that_the_target_lacks_is_refused(tmp_path: Path) -> None:
    teacher = two_input_network(tmp_path / "teacher.onnx")
    with Measured(Target(), teacher, FEED, 0) as model:
        with pytest.raises(LatencyError, match="cpu does not compute in float16: ONNX Runtime computes it in float32"):
            model.latency(replace(teacher, precision="float16"))
        assert model.worker_pid is None
        assert model.refusal("int8") is None


def test_a_device_lost_once_costs_its_candidate_a_retry(board: Measured, tmp_path: Path, starts: Path) -> None:
    assert board.latency(artifact(tmp_path, "loses its device once")).n_samples == 2
    assert n_starts(starts) == 2
    assert board.latency(artifact(tmp_path, "sleeps 0.002")).n_samples == 2
    assert n_starts(starts) == 2


@pytest.mark.parametrize("does", ["loses its device", "run: hangs", "run: segfaults"])
def test_what_fails_twice_while_the_anchor_runs_is_the_candidates_fault(
    board: Measured, tmp_path: Path, starts: Path, does: str
) -> None:
    with pytest.raises(LatencyError, match="On board-1t the anchor runs, but this network failed twice") as failed:
        board.latency(artifact(tmp_path, does))
    assert not isinstance(failed.value, DeviceError)
    assert n_starts(starts) == 3
    assert board.latency(artifact(tmp_path, "sleeps 0.002")).n_samples == 2


def test_an_error_of_this_program_is_not_the_devices(board: Measured, tmp_path: Path, starts: Path) -> None:
    with pytest.raises(LatencyError, match="a bug of the backend") as failed:
        board.latency(artifact(tmp_path, "run: raises"))
    assert not isinstance(failed.value, DeviceError)
    assert n_starts(starts) == 1


def test_a_device_out_of_reach_is_left_alone_for_longer_each_time(
    board: Measured, tmp_path: Path, starts: Path, clock: Clock
) -> None:
    good = artifact(tmp_path, "sleeps 0.002")
    board.latency(good)
    (tmp_path / "device").unlink()
    with pytest.raises(DeviceError, match="No device answers"):
        board.latency(artifact(tmp_path, "loses its device"))
    assert n_starts(starts) == 2
    for wait_s in (10, 20):
        with pytest.raises(DeviceError, match=r"board-1t is left alone for a while: No device answers"):
            board.latency(good)
        before = n_starts(starts)
        clock.now_s += wait_s / 2 - 0.5
        with pytest.raises(DeviceError, match="left alone for a while"):
            board.latency(good)
        assert n_starts(starts) == before
        clock.now_s += 0.6
        with pytest.raises(DeviceError, match="No device answers"):
            board.latency(good)
        assert n_starts(starts) == before + 1
    (tmp_path / "device").touch()
    clock.now_s += 20.1
    assert board.latency(good).n_samples == 2


def test_limits_of_a_remote_device_are_its_profiles() -> None:
    assert limits_of(replace(BOARD, remote=Remote(connect_s=7, run_s=30))) == Limits(67, 60, 30)
    assert limits_of(Target()) == Limits()


def test_an_emulated_device_shows_in_every_label() -> None:
    assert replace(BOARD, remote=Remote(emulated=True)).label == "board-1t-emulated"
    assert BOARD.label == "board-1t"
