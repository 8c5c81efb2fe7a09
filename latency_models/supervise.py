"""Keeps TVM's RPC server running on a board: `python -m latency_models.supervise --help`.

TVM's server stops serving when a session's process is killed, hangs when a client connects and says nothing, and is off
its tracker for good in both cases. This process starts it as a child, and starts it again when it has ended, or when
it no longer answers. Needs TVM and Python's standard library only, so that it can be copied to a bare board.
"""

import argparse
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, final

RPC_MAGIC, RPC_MISMATCH = 0xFF271, 0xFF271 + 2
"""Of TVM's handshake (tvm/rpc/base.py): what a client begins with, and the answer to a key that is not the server's."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")
POLL_S = 0.5


@dataclass(frozen=True)
class Service:
    """What is kept running.

    Attributes:
        host, port: that the server listens on; port 0 is any free one.
        tracker, key: host:port of a tracker and the name to be known by there; empty without one.
        start_s: seconds that it may take until it listens.
        check_s: between two checks whether it answers.
        answer_s: seconds that it may take to answer one.
        session_s: seconds that one session may last; TVM itself sets a client no limit.
    """

    host: str = "127.0.0.1"
    port: int = 9090
    tracker: str = ""
    key: str = ""
    start_s: float = 120.0
    check_s: float = 10.0
    answer_s: float = 10.0
    session_s: float = 3600.0


def main(arguments: list[str] | None = None) -> int:
    """Runs until SIGINT or SIGTERM, or with `--serve` as the child."""
    service, serve_only = _parsed(arguments)
    if serve_only:
        _serve(service)
    signal.signal(signal.SIGTERM, _interrupt)
    for line in _warnings(service):
        _say(line)
    try:
        _Supervisor(service).run()
    except KeyboardInterrupt:
        _say("stopped")
    return 0


def back_off_s(n_failures: int) -> float:
    """Seconds to wait before the next start: 1, 2, 4, ... 60 after so many ends in a row that came soon."""
    return float(min(60, 2 ** min(max(n_failures, 1) - 1, 6)))


def answers(host: str, port: int, limit_s: float) -> bool:
    """Whether an idle server on a port still greets: it must say that the key is not its own, as no key is."""
    greeting = b"client:is anybody there"
    try:
        with socket.create_connection((_reachable(host), port), timeout=limit_s) as connection:
            connection.sendall(struct.pack("<ii", RPC_MAGIC, len(greeting)) + greeting)
            reply = connection.recv(4)
    except OSError:
        return False
    return len(reply) == 4 and struct.unpack("<i", reply)[0] == RPC_MISMATCH


@final
class _Supervisor:
    """One server, restarted as often as it takes."""

    def __init__(self, service: Service, clock: Callable[[], float] = time.monotonic) -> None:
        self._service = service
        self._clock = clock

    def run(self) -> NoReturn:
        """Until interrupted; the server then ends too."""
        n_failures = 0
        while True:
            started_s = self._clock()
            child = _start(self._service)
            try:
                reason = self._watch(child)
            finally:
                _kill_group(child)
            n_failures = 1 if self._clock() - started_s > 60 else n_failures + 1
            wait_s = back_off_s(n_failures)
            _say(f"{reason}; starting it again in {wait_s:g} s")
            time.sleep(wait_s)

    def _watch(self, child: "subprocess.Popen[str]") -> str:
        """Returns when the server has to be started again: why."""
        port = self._port(child)
        if port is None:
            return "the server did not start"
        _say(f"serving on {self._service.host}:{port} as process {child.pid}{_with_tracker(self._service)}")
        checked_s, session_since_s = self._clock(), None
        while True:
            time.sleep(POLL_S)
            how = _ended(child)
            if how:
                return f"the server {how}"
            now_s = self._clock()
            if _has_children(child.pid):
                session_since_s = now_s if session_since_s is None else session_since_s
                checked_s = now_s
                if now_s - session_since_s > self._service.session_s:
                    return f"a session lasted longer than {self._service.session_s:g} s"
                continue
            session_since_s = None
            if now_s - checked_s >= self._service.check_s:
                # A session may have begun meanwhile, behind which the greeting has to wait.
                if not answers(self._service.host, port, self._service.answer_s) and not _has_children(child.pid):
                    return f"the server {_ended(child) or 'no longer answers'}"
                checked_s = self._clock()

    def _port(self, child: "subprocess.Popen[str]") -> int | None:
        """The port that a fresh server says it listens on; None where it ended or took too long."""
        assert child.stdout is not None
        end_s, text = self._clock() + self._service.start_s, b""
        os.set_blocking(child.stdout.fileno(), False)
        while self._clock() < end_s and not _ended(child) and not text.endswith(b"\n"):
            try:
                text += os.read(child.stdout.fileno(), 100)
            except BlockingIOError:
                time.sleep(0.05)
        return int(text) if text.endswith(b"\n") else None


def _start(service: Service) -> "subprocess.Popen[str]":
    # As a script only where this process is one: the folder of a script is where Python looks for modules first.
    this = ["-m", __spec__.name] if __spec__ else [str(Path(__file__).resolve())]
    command = [sys.executable, *this, "--serve", "--host", service.host]
    command += ["--port", str(service.port), "--tracker", service.tracker, "--key", service.key]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, start_new_session=True)


def _serve(service: Service) -> NoReturn:
    """The child: TVM's server in this process; ends when the server's loop does, or with its parent."""
    parent, port_to = os.getppid(), os.dup(1)
    os.dup2(2, 1)  # what TVM prints is not the port
    os.environ.setdefault("TVM_USE_RUNTIME_LIB", "1")  # the compiler is not needed, and costs a board seconds
    from tvm.rpc.server import PopenRPCServerState  # type: ignore[import-untyped,unused-ignore]

    tracker = None
    if service.tracker:
        host, _, port = service.tracker.rpartition(":")
        tracker = (host, int(port))
    first = service.port or _free_port(service.host)
    state = PopenRPCServerState(service.host, first, first + 1, tracker_addr=tracker, key=service.key, silent=True)
    os.write(port_to, f"{state.port}\n".encode())
    while state.thread.is_alive() and os.getppid() == parent:
        state.thread.join(POLL_S)
    os._exit(1)  # a session's process that hangs must not keep it


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _has_children(pid: int) -> bool:
    """Whether a process has children, which of TVM's server are its sessions (where there is no /proc: none known)."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if fields[1] == str(pid) and fields[0] != "Z":
            return True
    return False


def _kill_group(child: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()


def _ended(child: "subprocess.Popen[str]") -> str:
    """How a process has ended, empty while it runs; it is not reaped, so that its group keeps its number."""
    result = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if result is None:
        return ""
    return f"ended with {result.si_status}" if result.si_code == os.CLD_EXITED else f"was killed ({result.si_status})"


def _with_tracker(service: Service) -> str:
    return f", as {service.key} at the tracker {service.tracker}" if service.tracker else ""


def _warnings(service: Service) -> list[str]:
    if service.host in LOOPBACK:
        return []
    return [
        f"WARNING: whoever reaches port {service.port} of {service.host} controls this machine: the server runs any "
        "code it is sent, with the rights of this user and without a password.",
        "Bind to loopback instead (the default) and reach it by `ssh -L 9090:127.0.0.1:9090 pi@board`.",
    ]


def _say(line: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}", flush=True)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _parsed(arguments: list[str] | None) -> tuple[Service, bool]:
    default = Service()
    parser = argparse.ArgumentParser(
        prog="python -m latency_models.supervise", description="Keeps TVM's RPC server running on this machine."
    )
    parser.add_argument("--host", default=default.host, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=default.port, help="default: %(default)s; 0: any free one")
    parser.add_argument("--tracker", default="", metavar="HOST:PORT", help="tracker to report to")
    parser.add_argument("--key", default="", help="name to be known by at the tracker")
    for name in ("start", "check", "answer", "session"):
        value = getattr(default, f"{name}_s")
        parser.add_argument(f"--{name}-s", type=float, default=value, metavar="SECONDS", help="default: %(default)s")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if bool(given.tracker) != bool(given.key):
        parser.error("--tracker and --key go together")
    if given.tracker and not given.tracker.rpartition(":")[2].isdigit():
        parser.error("--tracker is HOST:PORT")
    values = {name: value for name, value in vars(given).items() if name != "serve"}
    return Service(**values), given.serve


if __name__ == "__main__":
    sys.exit(main())
