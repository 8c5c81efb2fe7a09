"""TVM's RPC servers and trackers as processes, for tests."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tvm.rpc import base

from latency_models.artifact import Artifact
from latency_models.target import Processor, Remote, Target

ROOT = Path(__file__).parents[2]
START_S = 90.0


@dataclass(frozen=True)
class Server:
    """A process that serves on a port of loopback; leader of its own group.

    Attributes:
        process: the server itself, or its supervisor.
        port: that it listens on.
        log: what it wrote.
    """

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def signal(self, number: int) -> None:
        """Sends a signal to the server and its sessions."""
        os.killpg(self.process.pid, number)

    def end(self) -> None:
        """Kills the server and its sessions."""
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
        self.process.wait()

    def folder(self) -> Path:
        """Where uploads lie while a session lasts."""
        return Path(os.readlink(f"/proc/{self.process.pid}/cwd"))


def serve(folder: Path, python: Sequence[str] = (sys.executable,), port: int = 0) -> Server:
    """TVM's server without a supervisor; returns when it listens."""
    log = folder / f"server-{time.monotonic_ns()}"
    command = [*python, "-m", "latency_models.supervise", "--serve", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("wb") as out, (folder / f"{log.name}-errors").open("wb") as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors, env=environment, start_new_session=True)
    return Server(process, int(line_of(log, process)), log)


def supervise(folder: Path, *arguments: str) -> Server:
    """A supervisor and its server; returns when the server listens."""
    log = folder / f"supervisor-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "latency_models.supervise", "--port", "0", *arguments]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, cwd=ROOT, start_new_session=True)
    return Server(process, port_in(line_of(log, process, "serving on")), log)


class Tracker:
    """Speaks the protocol of TVM's tracker, which itself needs the package tornado; one key, first come first served.

    Attributes:
        port: that it listens on.
        requests: what clients asked for: key, user, priority.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.requests: list[list[object]] = []
        self._free: dict[str, tuple[int, list[object]]] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.sendall(base.recvall(connection, 4))
            while True:
                base.sendjson(connection, self._answer(base.recvjson(connection), connection))
        except OSError:
            with self._changed:
                self._free = {key: entry for key, entry in self._free.items() if entry[0] != connection.fileno()}
            connection.close()

    def _answer(self, message: list[Any], connection: socket.socket) -> object:
        if message[0] == base.TrackerCode.PUT:
            _, _, (port, key), _ = message
            with self._changed:
                self._free[key] = (connection.fileno(), ["127.0.0.1", port, key])
                self._changed.notify_all()
        elif message[0] == base.TrackerCode.GET_PENDING_MATCHKEYS:
            return list(self._free)
        elif message[0] == base.TrackerCode.REQUEST:
            self.requests.append(message[1:])
            with self._changed:
                self._changed.wait_for(lambda: bool(self._free))
                return [base.TrackerCode.SUCCESS, self._free.popitem()[1][1]]
        return base.TrackerCode.SUCCESS


def port_in(line: str) -> int:
    """The port in a line of the supervisor's."""
    return int(line.partition("127.0.0.1:")[2].split()[0].rstrip(","))


def line_of(log: Path, process: "subprocess.Popen[bytes]", containing: str = "", n: int = 1) -> str:
    """The n-th whole line with some text that a process writes."""
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s and process.poll() is None:
        lines = [line for line in log.read_text().splitlines(keepends=True) if containing in line]
        if len(lines) >= n and lines[n - 1].endswith("\n"):
            return lines[n - 1]
        time.sleep(0.05)
    raise AssertionError(f"no line {n} with {containing!r} in {log.read_text()!r}")


def children(pid: int) -> list[int]:
    """A process's children, zombies left out."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == str(pid) and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found


def loopback(port: int, **remote: object) -> Target:
    """This machine, as if it were a board."""
    return Target(
        name="loopback",
        runtime="tvm",
        access="rpc",
        processor=Processor(triple="x86_64-linux-gnu"),
        remote=Remote(**{"port": port, "compiler": "gcc", **remote}),  # type: ignore[arg-type]
        precisions=("float32",),
    )


def conv_network(path: Path, seed: int = 0) -> Artifact:
    """Two 3x3 convolutions with a ReLU between, mean over space, a linear layer; (1, 3, 8, 8) to (1, 4)."""
    draw = np.random.default_rng(seed).standard_normal
    weights = {
        "w1": draw((8, 3, 3, 3)) / 5,
        "b1": draw(8) / 5,
        "w2": draw((9, 8, 3, 3)) / 9,
        "w3": draw((9, 4)),
        "b3": draw(4),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    found = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    constants = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "conv_network", [given], [found], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return Artifact.from_file(path, "float32")


CONV_FEED = {"x": np.linspace(-1, 1, 192, dtype=np.float32).reshape(1, 3, 8, 8)}
