"""`nas calibrate` of the tiny task: what it keeps, what it says, and that nothing is lost."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from latency_models.artifact import Artifact
from latency_models.calibration import FILE, Measurement, kept
from latency_models.drift import Watched
from latency_models.errors import DeviceError
from latency_models.latency import Latency, Visit
from latency_models.predict.saved import load
from latency_models.predicted import ANCHOR_S
from nas import calibrate_measure
from nas.calibrate import Calibration, Learnt, calibrate, left_out
from nas.calibrate_measure import Job
from nas.cli import main
from nas.config import Settings
from nas.deadline import Deadline
from nas.errors import UserError
from nas.progress import Progress, make_progress
from nas.teacher import Task
from search_spaces.recipe import Recipe
from tests.nas.conftest import DATA, SPEC
from tests.nas.test_kill import started

SETTINGS = Settings(SPEC, "100%", data=DATA, precision=("float32",), transforms=("channels", "depth"))


@pytest.fixture(autouse=True)
def few_students(monkeypatch: pytest.MonkeyPatch) -> None:
    """To choose from, as describing each takes a while."""
    monkeypatch.setattr("nas.calibrate.N_POOL", 24)


@pytest.fixture
def progress() -> Progress:
    return make_progress(sys.stderr, lambda: 0.0, lambda: 0.0, "silent")


def arguments(*more: str) -> list[str]:
    return ["calibrate", SPEC, "--data", DATA, "--precision", "float32", "--transforms", "channels,depth", *more]


def folders(root: Path) -> list[Path]:
    return [path.parent for path in root.rglob(FILE)]


def test_it_measures_learns_and_adds_to_what_it_has(
    tiny_task: Task, progress: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate_measure, "N_KERNELS", 10)

    def again(n: int, fresh: bool = False) -> Learnt:
        found = calibrate(tiny_task, SETTINGS, n, Deadline(300.0), progress, fresh, tmp_path)
        assert not found.timed_out
        (learnt,) = found.learnt
        return learnt

    first = again(12)
    assert (first.target, first.precision, first.n_measured, first.n_new) == ("cpu-1t", "float32", 12, 12)
    assert first.path is not None
    assert 0 < first.error < 0.5
    assert 0 <= first.covered <= 1
    (folder,) = folders(tmp_path)
    measured = kept(folder)
    assert len({one.network for one in measured}) == 12
    assert sum(bool(one.kernel_shares) for one in measured) == 10
    assert all(0 < sum(share for _, share in one.kernel_shares) < 2 for one in measured if one.kernel_shares)
    predictor = load(first.path)
    assert predictor.target == "cpu-1t"
    anchors = sorted(sample for one in measured for visit in one.visits for sample in visit.anchor_s)
    assert anchors[0] < float(predictor.environment[ANCHOR_S]) < anchors[-1]
    assert again(12).n_new == 0
    more = again(14)
    assert (more.n_measured, more.n_new) == (14, 2)
    assert kept(folder)[:12] == measured
    assert again(8, fresh=True).n_new == 8
    assert len(kept(folder)) == 8


@pytest.mark.slow
def test_killed_it_goes_on_where_it_stopped(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with started(arguments("--weights", str(tiny_weights), "--n", "60"), tmp_path) as search:
        search.wait_for("measuring students on cpu-1t")
        for _ in range(3000):
            if folders(tmp_path) and len(kept(folders(tmp_path)[0])) >= 3:
                break
            time.sleep(0.01)
        search.kill()
        assert search.ends() == -9
    (folder,) = folders(tmp_path)
    before = kept(folder)
    assert 3 <= len(before) < 60
    n = len(before) + 8
    assert main(arguments("--weights", str(tiny_weights), "--n", str(n), "--quiet")) == 0
    shown = capsys.readouterr().out
    after = {one.name: one for one in kept(folder)}
    assert len(after) == n
    if "set aside" not in shown and "drifted" not in shown:  # on a busy machine a drift may be seen between the two
        assert [after[one.name] for one in before] == list(before)
    assert "cpu-1t  float32" in shown
    assert f"nas search {SPEC} --target cpu --latency predicted" in shown.replace("\n", " ")
    assert str(folder) in shown.replace("\n", "")


def test_what_was_measured_between_a_good_check_and_a_drift_is_measured_again(
    tiny_task: Task, progress: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Artifact, Visit]] = []
    measure = Watched.latency

    def latency(
        self: Watched, artifact: Artifact, earlier: tuple[Visit, ...] = (), anchor_s: float | None = None
    ) -> Latency:
        found = measure(self, artifact, earlier, anchor_s)
        seen.append((artifact, found.visits[-1]))
        return found

    monkeypatch.setattr(Watched, "latency", latency)
    monkeypatch.setattr(Watched, "check", lambda _: True)
    # A drift is found after the fifth student; the third and the fourth were measured since the last good check.
    monkeypatch.setattr(Watched, "take_affected", lambda _: seen[2:4] if len(seen) == 5 else [])
    found = calibrate(tiny_task, SETTINGS, 8, Deadline(300.0), progress, root=tmp_path)
    assert len(seen) == 10
    visits = [one.visits[0] for one in kept(folders(tmp_path)[0])]
    assert sorted(visits, key=hash) == sorted([visit for _, visit in seen[:2] + seen[4:]], key=hash)
    assert [note for note in found.notes if "2 students were measured again" in note]


def test_a_calibration_that_no_longer_holds_is_set_aside(
    tiny_task: Task, progress: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate(tiny_task, SETTINGS, 8, Deadline(300.0), progress, root=tmp_path)
    monkeypatch.setattr(Watched, "agrees", lambda *_: False)
    found = calibrate(tiny_task, SETTINGS, 9, Deadline(300.0), progress, root=tmp_path)
    assert (found.learnt[0].n_measured, found.learnt[0].n_new) == (9, 9)
    assert "8 float32 measurements were set aside" in found.notes[0]


def test_out_of_time_it_says_how_to_go_on(tiny_task: Task, progress: Progress, tmp_path: Path) -> None:
    found = calibrate(tiny_task, SETTINGS, 20, Deadline(1e-9), progress, root=tmp_path)
    assert found.timed_out
    (learnt,) = found.learnt
    assert learnt.path is None
    shown = text(found)
    assert "Nothing is predicted yet for float32 on cpu-1t" in shown
    assert "the same command goes on" in shown
    assert "Next:" not in shown


def test_a_lost_target_keeps_what_was_measured(
    tiny_task: Task, progress: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, n = Watched.latency, 0

    def latency(self: Watched, artifact: Artifact) -> Latency:
        nonlocal n
        n += 1
        if n == 4:
            raise DeviceError("The cable is out.", "Plug it in.")
        return measure(self, artifact)

    monkeypatch.setattr(Watched, "latency", latency)
    with pytest.raises(UserError, match=r"No target could be measured. cpu-1t: The cable is out. Plug it in. What was"):
        calibrate(tiny_task, SETTINGS, 8, Deadline(300.0), progress, root=tmp_path)
    assert len(kept(folders(tmp_path)[0])) == 3


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--n", "3"), "3 students are too few to learn from"),
        (("--target", "estimate:cortex-a72"), "is an estimate, so there is nothing to measure"),
        (("--target", "toaster"), "toaster"),
        (("--time-budget", "soon"), "soon"),
        (("--teacher", "digits"), "The teacher is named twice"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], more: tuple[str, ...], words: str) -> None:
    assert main(arguments("--quiet", *more)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert words in said.err
    assert "Traceback" not in said.err


def test_without_a_teacher_it_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--target", "cpu"]) == 2
    assert "The setting task-or-teacher is missing" in capsys.readouterr().err


def test_errors_of_students_that_were_left_out(tiny_task: Task, progress: Progress, tmp_path: Path) -> None:
    calibrate(tiny_task, SETTINGS, 8, Deadline(300.0), progress, root=tmp_path)
    (folder,) = folders(tmp_path)
    measured = [
        Measurement(one.name, one.precision, one.network, (Visit((seconds,), (1.0,)),))
        for one in kept(folder)
        for seconds in (0.01 + 0.02 * len(one.network.kernels),)
    ]
    errors, covered = left_out(measured)
    assert errors.shape == covered.shape == (8,)
    assert (errors < 0.3).mean() >= 0.7


def test_a_job_is_found_again_by_its_name() -> None:
    job = Job(Recipe.of({"channels:a": 3}), "int8", True)
    assert json.loads(job.name)[1:] == ["int8", True]
    assert Job.named(job.name) == job


def test_the_table(tmp_path: Path) -> None:
    lines = (
        Learnt("cpu-1t", "float32", 40, 12, 0.0123, 0.975, 0.9, tmp_path / "float32.json"),
        Learnt("cpu-1t", "int8", 3, 3),
    )
    shown = text(Calibration(SETTINGS, lines, ("Something happened.",))).splitlines()
    assert shown[0].split("  ")[0] == "target"
    assert shown[1].split() == ["cpu-1t", "float32", "40", "12", "1.2", "%", "98", "%", "90", "%"]
    assert shown[2].split() == ["cpu-1t", "int8", "3", "3", "—", "—", "—"]
    assert "Something happened." in shown
    assert max(map(len, shown)) <= 100
    assert os.fspath(tmp_path) in "".join(shown)


def text(what: Calibration) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(what)
    return captured.get()
