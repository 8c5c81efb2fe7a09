import signal
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from latency_models.errors import LatencyError
from latency_models.latency import Visit
from latency_models.target import Target
from latency_models.timing import latency_from_visits
from nas.errors import UserError
from nas.tune import Report, _interruptible, outcome_line, progress_line, tune
from tests.nas.test_explain import network

pytest.importorskip("tvm", reason="TVM is not installed")

from latency_models.tvm_backend.tuning import Progress, Tuning
from latency_models.tvm_backend.tuning_jobs import Job
from latency_models.tvm_backend.tuning_outcome import Outcome

TVM = Target("tvm-cpu", "tvm")
JOB = Job("00ff00ff00ff00ff", "conv", "Conv", (1, 8, 8, 16), None, "", "float32", 3, (0,), 50e-6)
HALF = latency_from_visits([Visit((20e-6,) * 8, (40e-6,) * 8)] * 6, "tvm-cpu-1t", {}, np.random.default_rng(0))


def test_a_folder_without_an_id_a_missing_file_and_too_little_time_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Which students"):
        tune(tmp_path, [], TVM, 60)
    with pytest.raises(UserError, match="no run and no file"):
        tune(tmp_path / "none.onnx", [], TVM, 60)
    with pytest.raises(UserError, match="5 s are too little"):
        tune(tmp_path / "none.onnx", [], TVM, 5)


def test_another_target_is_refused(tmp_path: Path) -> None:
    network(tmp_path / "student.onnx", 8)
    with pytest.raises(LatencyError, match="which the target cpu is not"):
        tune(tmp_path / "student.onnx", [], Target(), 60)


def test_progress_names_kernel_before_best_and_time_left() -> None:
    assert progress_line(Progress(JOB, 2, 9, 40e-6, 17, 75.2)) == (
        "2/9 conv: 50.0 µs, best so far 40.0 µs (17 tried), 1:15 left"
    )
    assert "no schedule yet" in progress_line(Progress(JOB, 2, 9, None, 1, 75.2))
    assert outcome_line(Outcome(JOB, "kept", None, HALF, 17)) == "conv: 40.0 → 20.0 µs, kept"


def test_the_table_shows_kernels_gains_and_the_network() -> None:
    outcomes = (Outcome(JOB, "not faster by more than the interval", None, HALF, 17), Outcome(JOB, "no time was left"))
    report = Report(("student.onnx", "other.onnx"), TVM, Tuning(outcomes, (HALF, None), ()), False)
    console = Console(width=110)
    with console.capture() as captured:
        console.print(report)
    lines = captured.get().splitlines()
    assert lines[1].split()[:7] == ["conv", "3", "40.0", "20.0", "50", "%", "17"]
    assert lines[2].split()[:5] == ["conv", "3", "50.0", "—", "—"]
    text = " ".join(captured.get().split())
    assert "student.onnx on tvm-cpu-1t: 0.040 ms before, 0.020 ms after, 50.0 % (95 %: 49.5 to 50.5 %)" in text
    assert "other.onnx on tvm-cpu-1t: no kernel is tuned" in text
    assert "0 tuned kernels are stored" in text
    assert "The same command goes on" in text


def test_the_first_interrupt_is_noted_and_the_second_leaves() -> None:
    with _interruptible(Console(quiet=True)) as stopped:
        assert not stopped()
        signal.raise_signal(signal.SIGINT)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
