import os
import shutil
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from latency_models import supervise
from latency_models.measured import Measured
from latency_models.supervise import RPC_MAGIC, RPC_MISMATCH, answers, back_off_s
from latency_models.timing import Plan
from tests.latency_models.rpc_servers import (
    CONV_FEED,
    START_S,
    Tracker,
    children,
    conv_network,
    line_of,
    loopback,
    port_in,
)
from tests.latency_models.rpc_servers import supervise as supervised


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    one = Tracker()
    yield one
    one.close()


def test_waits_double_up_to_a_minute() -> None:
    assert [back_off_s(n) for n in (0, 1, 2, 3, 6, 7, 100)] == [1, 1, 2, 4, 32, 60, 60]


def test_only_a_server_that_greets_answers() -> None:
    def serve(listening: socket.socket, reply: bytes) -> None:
        connection, _ = listening.accept()
        with connection:
            heard.append(connection.recv(8))
            connection.sendall(reply)

    heard: list[bytes] = []
    for reply, expected in ((struct.pack("<i", RPC_MISMATCH), True), (b"HTTP", False), (b"", False)):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = threading.Thread(target=serve, args=(listening, reply))
            thread.start()
            assert answers("127.0.0.1", listening.getsockname()[1], 2.0) is expected
            thread.join()
    assert struct.unpack("<i", heard[0][:4]) == (RPC_MAGIC,)


def test_a_server_that_says_nothing_does_not_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        started_s = time.monotonic()
        assert not answers("127.0.0.1", listening.getsockname()[1], 0.2)
        assert time.monotonic() - started_s < 1


def test_a_port_open_to_others_is_announced_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(supervise, "_start", stop)
    before = signal.getsignal(signal.SIGTERM)
    assert supervise.main(["--host", "0.0.0.0", "--port", "7000"]) == 0
    said = capsys.readouterr().out
    assert "WARNING: whoever reaches port 7000 of 0.0.0.0 controls this machine" in said
    assert "ssh -L" in said
    assert supervise.main([]) == 0
    assert "WARNING" not in capsys.readouterr().out
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    "arguments", [["--tracker", "host:9190"], ["--key", "pi4"], ["--tracker", "host", "--key", "a"]]
)
def test_half_a_tracker_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        supervise.main(arguments)
    assert "tracker" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None or sys.platform != "linux", reason="needs gcc and Linux's /proc")
def test_a_killed_session_and_a_silent_client_are_survived(tmp_path: Path, tracker: Tracker) -> None:
    arguments = ("--tracker", f"127.0.0.1:{tracker.port}", "--key", "pi4", "--check-s", "1", "--answer-s", "0.5")
    board = supervised(tmp_path, *arguments)
    target = loopback(tracker.port, key="pi4", priority=3, connect_s=START_S, run_s=60.0)

    def kill_the_session() -> None:
        (server,) = children(board.process.pid)
        end_s = time.monotonic() + START_S
        while not children(server) and time.monotonic() < end_s:
            time.sleep(0.02)
        time.sleep(0.5)
        for session in children(server):
            os.kill(session, signal.SIGKILL)

    try:
        with Measured(target, conv_network(tmp_path / "n.onnx"), CONV_FEED, 0, Plan(n_pairs=10**6, max_s=2.0)) as model:
            model.environment()
            killer = threading.Thread(target=kill_the_session)
            killer.start()
            latency = model.latency(conv_network(tmp_path / "student.onnx", seed=1))
            killer.join()
        assert latency.n_samples > 1
        assert "the server ended with 1; starting it again in 1 s" in line_of(board.log, board.process, "again", 1)
        assert tracker.requests == [["pi4", "", 3]] * 2
        port = port_in(line_of(board.log, board.process, "serving on", 2))
        with socket.create_connection(("127.0.0.1", port)):
            assert "the server no longer answers" in line_of(board.log, board.process, "again", 2)
        assert port_in(line_of(board.log, board.process, "serving on", 3))
    finally:
        board.process.terminate()
        board.process.wait(10)
    assert board.log.read_text().endswith("stopped\n")
