"""A search that is killed, locked out, interrupted, or out of disk goes on where it stopped."""

import gc
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nas.cli import main
from nas.ledger import open_ledger
from nas.record import Record
from nas.run import Run
from tests.nas.conftest import DATA, SPEC

PHASES = (
    "profiling the teacher",
    "measuring what each choice loses",
    "pricing layers on the target",
    "scoring repaired students",
    "distillation",
    "confirming the front",
    "writing the report",
)
INTO_THE_PHASE_S = 0.15


def search_arguments(run: Path, weights: Path, time_budget: str = "cpu:24s") -> list[str]:
    return [
        "search", SPEC, "--data", DATA, "--weights", str(weights), "--latency-budget", "80%",
        "--max-accuracy-drop", "20%", "--time-budget", time_budget, "--training-threads", "1",
        "--n-calibration", "64", "--out", str(run),
    ]  # fmt: skip


class Search:
    """A search in a process of its own, forked from a server that has the libraries loaded already."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self._log = folder / f"{len(list(folder.glob('*.log')))}.log"
        self._log.touch()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["nas.run"])
        self._process = context.Process(target=run_main, args=(arguments, str(self._log)))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def said(self) -> str:
        """What it has written on standard error."""
        return self._log.read_text()

    def wait_for(self, phase: str) -> None:
        """Until the plain progress tells this phase."""
        for _ in range(12_000):
            if phase in self.said():
                return
            assert self._process.exitcode is None, f"ended before {phase!r}:\n{self.said()}"
            time.sleep(0.01)
        raise AssertionError(f"hangs before {phase!r}:\n{self.said()}")

    def ends(self) -> int | None:
        """Exit status; minus the signal where one killed it."""
        self._process.join(120)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


def run_main(arguments: list[str], log: str) -> None:
    """The command line, as the process's whole life."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), 2)
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    sys.exit(main(arguments))


@contextmanager
def started(arguments: list[str], folder: Path) -> Iterator[Search]:
    search = Search(arguments, folder)
    try:
        yield search
    finally:
        search.kill()
        search.ends()


def records_of(run: Path) -> dict[str, Record]:
    with open_ledger(run, create=False) as ledger:
        return {record.id: record for record in ledger.records()}


def assert_kept(before: dict[str, Record], after: dict[str, Record]) -> None:
    """Every record is there as it was; a confirmed one has a test score and more visits."""
    assert set(before) <= set(after)
    for name, old in before.items():
        new = after[name]
        if old.test_accuracy is None and new.test_accuracy is not None:
            assert old.latency is not None
            assert new.latency is not None
            assert new.latency.visits[: len(old.latency.visits)] == old.latency.visits
            new = replace(new, test_accuracy=None, latency=old.latency, environment=old.environment)
        assert new == old, name


def assert_whole(run: Path) -> None:
    """A finished run: files, ledger and study are sound, and no recipe is there twice."""
    names = {path.name for path in run.iterdir()}
    assert {"front.csv", "records.parquet", "front.html", "front.png", "cards", "study.journal"} <= names
    assert Run.open(run).finished
    with sqlite3.connect(run / "ledger.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        twice = "SELECT digest, rung, count(*) FROM records GROUP BY digest, rung HAVING count(*) > 1"
        assert connection.execute(twice).fetchall() == []
    storage = JournalStorage(JournalFileBackend(str(run / "study.journal")))
    study = optuna.load_study(study_name="understudy", storage=storage)
    assert all(trial.state != optuna.trial.TrialState.RUNNING for trial in study.trials)
    for record in records_of(run).values():
        if record.ok:
            assert (run / record.artifact).stat().st_size == record.size_bytes


def test_killed_in_each_phase_and_resumed(tiny_weights: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments, known = search_arguments(run, tiny_weights), dict[str, Record]()
    for phase in PHASES:
        with started(arguments, tmp_path) as search:
            search.wait_for(phase)
            time.sleep(INTO_THE_PHASE_S)
            search.kill()
            assert search.ends() == -signal.SIGKILL
        arguments = ["resume", str(run)]
        now = records_of(run)
        assert_kept(known, now)
        known = now
        assert main(["front", str(run)]) == (0 if "teacher" in known else 2)
    assert {record.rung for record in known.values()} == {0, 1}
    with started(arguments, tmp_path) as search:
        assert search.ends() in (0, 1), search.said()
    assert_kept(known, records_of(run))
    assert_whole(run)


def test_a_second_search_on_a_run_is_refused(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    arguments = search_arguments(run, tiny_weights, "2m")
    with started(arguments, tmp_path) as search:
        search.wait_for("measuring what each choice loses")
        for second in (["resume", str(run)], arguments):
            assert main(second) == 4
            said = capsys.readouterr().err
            assert f"is owned by another search: process {search.pid} " in said
            assert "Traceback" not in said
        assert main(["front", str(run)]) == 0  # looking is allowed
        assert "not finished" in capsys.readouterr().out


def test_an_interrupted_search_goes_on(tiny_weights: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with started(search_arguments(run, tiny_weights, "15s"), tmp_path) as search:
        search.wait_for("measuring what each choice loses")
        os.kill(search.pid, signal.SIGINT)
        assert search.ends() == 130, search.said()
        assert "nas: interrupted." in search.said()
        assert "Traceback" not in search.said()
    known = records_of(run)
    assert main(["resume", str(run)]) in (0, 1)
    assert_kept(known, records_of(run))
    assert_whole(run)


@pytest.mark.skipif(os.getuid() != 0, reason="only root mounts a small disk")
def test_a_full_disk_stops_it_cleanly_and_it_goes_on_with_space(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        run = disk / "run"
        assert main(search_arguments(run, tiny_weights, "6s")) == 5
        said = capsys.readouterr().err
        assert "nas: The disk is full" in said
        assert f"nas resume {run}" in said
        assert "Traceback" not in said
        known = records_of(run)
        assert "teacher" in known
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        assert main(["resume", str(run)]) in (0, 1)
        assert_kept(known, records_of(run))
        assert_whole(run)
    finally:
        gc.collect()  # Optuna's connections are in cycles
        subprocess.run(["umount", disk], check=True)
