"""TVM's RPC server as processes of this machine, over loopback."""

import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from latency_models import onnxruntime_backend, remote
from latency_models.artifact import Artifact
from latency_models.board import Board
from latency_models.errors import DeviceError, LatencyError
from latency_models.limits import Limits
from latency_models.measured import Measured
from latency_models.open import open_model
from latency_models.target import Target
from latency_models.timing import Plan
from tests.latency_models.rpc_servers import CONV_FEED, Server, children, conv_network, loopback, serve

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or sys.platform != "linux", reason="needs gcc and Linux's /proc"
)

SHORT = Plan(n_pairs=4)
LONG = Plan(n_pairs=1_000_000, max_s=60.0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = serve(tmp_path)
    yield one
    one.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that leave it as it was, and for the last one, which stops it."""
    one = serve(tmp_path_factory.mktemp("shared"))
    yield one
    one.end()


def n_sessions(server: Server, expected: int) -> int:
    """Sessions of a server, which begin and end a little later than the client says so."""
    end_s = time.monotonic() + 10
    while len(children(server.process.pid)) != expected and time.monotonic() < end_s:
        time.sleep(0.02)
    return len(children(server.process.pid))


def soon(action: Callable[[], object], ready: Callable[[], bool]) -> threading.Thread:
    """Acts half a second after something is so, in a thread."""

    def run() -> None:
        end_s = time.monotonic() + 60
        while not ready() and time.monotonic() < end_s:
            time.sleep(0.02)
        time.sleep(0.5)
        action()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_network_runs_over_rpc_until_its_server_is_killed_mid_visit(server: Server, tmp_path: Path) -> None:
    teacher, student = conv_network(tmp_path / "teacher.onnx"), conv_network(tmp_path / "student.onnx", seed=1)
    target = loopback(server.port, connect_s=1.0, run_s=100.0)
    with open_model(target, teacher, CONV_FEED, seed=0, plan=SHORT) as model:
        assert isinstance(model, Measured)
        check_network(model, student, server)
        # One server serves one session at a time, so that its child tells that the session lasts.
        killer = soon(server.end, lambda: bool(children(server.process.pid)))
        started_s = time.monotonic()
        with pytest.raises(DeviceError, match=f"No TVM RPC server answers at 127.0.0.1:{server.port} within 1 s"):
            model.visits({"the student": student}, LONG)
        killer.join()
        assert time.monotonic() - started_s < 50
        started_s = time.monotonic()
        with pytest.raises(DeviceError, match="loopback-1t is left alone for a while"):
            model.latency(student)
        assert time.monotonic() - started_s < 0.1


def check_network(model: Measured, student: Artifact, server: Server) -> None:
    """Latency, outputs, kernels and environment are the network's and the device's; nothing is left there."""
    latency, other = model.latency(student), {"x": -CONV_FEED["x"]}
    assert (latency.n_samples, latency.source, latency.target) == (4, "measured", "loopback-1t")
    assert 0 < latency.median_s < 1
    reference = onnxruntime_backend.load(student, Target(), CONV_FEED)
    for got, feed in zip(model.outputs(student, [CONV_FEED, other]), (CONV_FEED, other), strict=True):
        np.testing.assert_allclose(got[0], reference.outputs(feed)[0], atol=1e-4)
    assert list(server.folder().iterdir()) == []
    kernels = model.kernels(student)
    assert [kernel.operator for kernel in kernels if kernel.operator in ("Conv", "Gemm")] == ["Conv", "Conv", "Gemm"]
    assert all(0 < kernel.seconds < 0.1 for kernel in kernels)
    assert (latency.environment["emulated"], latency.environment["n_threads"]) == ("no", "1")
    with pytest.raises(LatencyError, match=r"compiled for the inputs .*float32\[1, 3, 8, 8\]"):
        model.outputs(student, [{"x": np.zeros((1, 3, 9, 8), np.float32)}])


def test_a_device_is_handed_back_and_taken_again(shared: Server, tmp_path: Path) -> None:
    network = remote.load(conv_network(tmp_path / "n.onnx"), loopback(shared.port), CONV_FEED)
    assert n_sessions(shared, 1) == 1
    remote.release()
    assert n_sessions(shared, 0) == 0
    assert len(network.sample_s(3, 2)) == 3
    assert n_sessions(shared, 1) == 1
    remote.release()
    assert n_sessions(shared, 0) == 0


@pytest.mark.slow
def test_a_server_that_hangs_hits_the_limit(shared: Server, tmp_path: Path) -> None:
    teacher = conv_network(tmp_path / "teacher.onnx")
    target = loopback(shared.port, connect_s=1.0, run_s=30.0)
    with Measured(target, teacher, CONV_FEED, 0, SHORT, Limits(start_s=60, load_s=10, sample_s=10)) as model:
        model.environment()
        shared.signal(signal.SIGSTOP)
        started_s = time.monotonic()
        with pytest.raises(DeviceError, match="No TVM RPC server answers"):
            model.latency(teacher)
        assert 10 < time.monotonic() - started_s < 30


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", r"No TVM RPC server answers at 127\.0\.0\.1:1 within 0\.5 s"),
        ("pi4", r"The tracker 127\.0\.0\.1:1 gave no device called pi4 within 0\.5 s"),
    ],
)
def test_nobody_there_is_said_within_the_limit(tmp_path: Path, key: str, said: str) -> None:
    board = Board(loopback(1, connect_s=0.5, key=key))
    started_s = time.monotonic()
    with pytest.raises(DeviceError, match=said):
        board.lease()
    assert time.monotonic() - started_s < 2


def test_missing_tools_are_named() -> None:
    assert [one.what for one in remote.missing(loopback(1, compiler="no-such-gcc"))] == ["the compiler no-such-gcc"]
    assert remote.missing(loopback(1)) == []
