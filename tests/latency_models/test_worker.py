import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from latency_models.artifact import Artifact
from latency_models.backend import BACKENDS
from latency_models.errors import DeviceError, LatencyError
from latency_models.latency import Visit
from latency_models.requests import Drop, Load, Outputs, Sample
from latency_models.target import Target
from latency_models.timing import Plan
from latency_models.worker import Step, Worker, WorkerLost

FAKE = "tests.latency_models.fake_backend"
FEED = {"x": np.array([1.0, 2.0], np.float32)}
SHORT = Plan(n_pairs=2, warm_up_window=1, warm_up_max_s=0.0)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, ("local", "onnxruntime", "cpu"), FAKE)


def artifact(folder: Path, does: str) -> Artifact:
    path = folder / f"{does.replace(' ', '-').replace(':', '')}.onnx"
    path.write_text(does)
    return Artifact.from_file(path, "float32")


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    one = Worker(Target(), 30, (Step(Load("anchor", artifact(tmp_path, "sleeps 0.001"), FEED), 10),))
    yield one
    one.kill()


def gone(pid: int) -> bool:
    """Whether a process has ended and was reaped."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_a_loaded_candidate_is_visited_against_the_anchor(worker: Worker, tmp_path: Path) -> None:
    worker.ask(Load("slow", artifact(tmp_path, "sleeps 0.004"), FEED), 10)
    worker.ask(Load("same", artifact(tmp_path, "sleeps 0.001"), FEED), 10)
    visits = worker.ask(Sample(("slow", "same"), "anchor", SHORT), 10)
    assert isinstance(visits, dict)
    assert isinstance(visits["slow"], Visit)
    assert list(visits) == ["slow", "same"]
    assert min(visits["slow"].candidate_s) >= 0.004 > min(visits["slow"].anchor_s) >= 0.001


def test_outputs_and_prelude_values(worker: Worker) -> None:
    environment, loaded = worker.start()
    assert environment == {"processor": "fake", "n_threads": "1", "pid": str(worker.pid)}
    assert loaded is None
    (doubled,) = worker.ask(Outputs("anchor", FEED), 10)  # type: ignore[misc]
    np.testing.assert_array_equal(doubled, [2, 4])


def test_what_native_code_prints_does_no_harm(worker: Worker, tmp_path: Path) -> None:
    assert worker.ask(Load("one", artifact(tmp_path, "prints"), FEED), 10) is None


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("segfaults", "was killed by SIGSEGV while loading one"),
        ("is killed", r"was killed by SIGKILL \(as the kernel does when memory runs out\) while loading one"),
        ("raises", "exited with 1 while loading one. It last wrote: .*RuntimeError: a bug of the backend"),
        ("garbles", "wrote something senseless .*and was killed while loading one"),
        ("hangs", r"did not answer within 0.3 s and was killed while loading one"),
        ("closes its pipes", "closed its pipes and was killed while loading one"),
    ],
)
def test_a_lost_worker_is_replaced(worker: Worker, tmp_path: Path, does: str, said: str) -> None:
    worker.start()
    pid = worker.pid
    assert pid is not None
    started_s = time.monotonic()
    with pytest.raises(WorkerLost, match=said):
        worker.ask(Load("one", artifact(tmp_path, does), FEED), 0.3 if does == "hangs" else 20)
    assert time.monotonic() - started_s < 8
    assert gone(pid)
    assert worker.pid is None
    worker.ask(Load("two", artifact(tmp_path, "sleeps 0.001"), FEED), 10)
    assert worker.ask(Sample(("two",), "anchor", SHORT), 10)
    assert worker.pid != pid


def test_all_that_a_hanging_worker_started_dies_with_it(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CHILD", str(tmp_path / "child"))
    worker.start()
    with pytest.raises(WorkerLost):
        worker.ask(Load("one", artifact(tmp_path, "starts a child and hangs"), FEED), 1.5)
    child = int((tmp_path / "child").read_text())
    assert ended_or_zombie(child)


def ended_or_zombie(pid: int) -> bool:
    """An orphan is reaped by init, which a container may lack."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_a_worker_that_died_between_two_requests_is_no_requests_fault(worker: Worker, tmp_path: Path) -> None:
    worker.start()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    time.sleep(0.05)
    assert worker.ask(Load("one", artifact(tmp_path, "sleeps 0.001"), FEED), 10) is None


def test_a_stopped_worker_that_reads_no_more_is_killed(worker: Worker) -> None:
    worker.start()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(WorkerLost, match=r"did not answer within 0\.3 s"):
        worker.ask(Outputs("anchor", {"x": np.zeros(1 << 20, np.float32)}), 0.3)
    assert worker.pid is None


def test_refusals_leave_the_worker_running(worker: Worker, tmp_path: Path) -> None:
    worker.start()
    pid = worker.pid
    with pytest.raises(LatencyError, match=r"No such operator\. Leave it out\.") as refused:
        worker.ask(Load("one", artifact(tmp_path, "is refused"), FEED), 10)
    assert not isinstance(refused.value, DeviceError | WorkerLost)
    with pytest.raises(DeviceError, match=r"The cable is out\. Plug it in\."):
        worker.ask(Load("one", artifact(tmp_path, "loses its device"), FEED), 10)
    assert worker.ask(Drop(("one", "anchor")), 10) is None
    assert worker.pid == pid


def test_an_interrupted_request_ends_the_process(worker: Worker, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    worker.start()
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            worker.ask(Load("one", artifact(tmp_path, "hangs"), FEED), 10)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert worker.pid is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_a_busy_worker_dies_with_its_parent(tmp_path: Path) -> None:
    hanging = artifact(tmp_path, "hangs")
    script = f"""
        import pathlib, threading, time
        from latency_models.backend import BACKENDS
        from latency_models.requests import Load
        from latency_models.target import Target
        from latency_models.worker import Worker
        from tests.latency_models.test_worker import FAKE, artifact
        BACKENDS["local", "onnxruntime", "cpu"] = FAKE
        worker = Worker(Target(), 30)
        worker.start()
        print(worker.pid, flush=True)
        worker.ask(Load("one", artifact(pathlib.Path({str(tmp_path)!r}), "hangs"), {{}}), 100)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    assert hanging.size_bytes == 5
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.2)
    parent.kill()
    parent.communicate()
    assert ended_or_zombie(pid)
