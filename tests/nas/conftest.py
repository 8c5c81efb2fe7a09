"""The tiny task, trained once a test run, and one search of it that many tests look at."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import nn

import nas
from nas.config import Settings
from nas.data import as_data
from nas.deadline import Deadline
from nas.ledger import open_ledger
from nas.progress import make_progress
from nas.run import Run
from nas.teacher import Task, make_task
from nas.workbench import Workbench, open_workbench
from tests.nas import tiny

SPEC = f"{tiny.__file__}:build"
DATA = f"{tiny.__file__}:make_data"
TIME_BUDGET_S = 20.0


@pytest.fixture(scope="session")
def tiny_teacher() -> nn.Module:
    return tiny.trained()


@pytest.fixture(scope="session")
def tiny_weights(tiny_teacher: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "teacher.safetensors"
    save_file(tiny_teacher.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def tiny_run(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Searched once; tests only read it."""
    return nas.search(
        SPEC,
        DATA,
        weights=tiny_weights,
        latency_budget="80%",
        max_accuracy_drop="10%",
        time_budget=f"cpu:{TIME_BUDGET_S}s",
        training_threads=1,
        n_calibration=128,
        out=tmp_path_factory.mktemp("tiny_run") / "run",
        style="silent",
    )


@pytest.fixture(scope="session")
def tiny_task(tiny_teacher: nn.Module) -> Task:
    return make_task("tiny", tiny_teacher, as_data(tiny.make_data()))


@pytest.fixture
def tiny_bench(tiny_task: Task, tmp_path: Path) -> Iterator[Workbench]:
    """A fresh run with its teacher's record."""
    settings = Settings(SPEC, "50%", data=DATA, training_threads=1, n_calibration=64)
    deadline = Deadline(300.0)
    progress = make_progress(sys.stderr, deadline.elapsed_s, deadline.left_s, "silent")
    with (
        open_ledger(tmp_path, create=True) as ledger,
        open_workbench(tmp_path, settings, tiny_task, ledger, deadline, progress) as bench,
    ):
        yield bench
