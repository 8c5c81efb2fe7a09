"""A process beside this one that runs artifacts, and that can be killed when they hang or crash."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from latency_models.backend import BACKENDS
from latency_models.errors import DeviceError, LatencyError
from latency_models.frames import GarbledError, read_frame, write_frame
from latency_models.requests import Answer, Open, Refused, Request, doing
from latency_models.target import Target

OWN_END_S = 2.0
LAST_WORDS = 400
"""Characters of a worker's standard error that its end is explained with."""


class WorkerLost(LatencyError):
    """A worker process hung, crashed or wrote something senseless, and was ended.

    Attributes:
        by_exception: it ended itself, by a Python exception that is no LatencyError: an error of this program or its
            installation, not of a device.
    """

    def __init__(self, problem: str, remedy: str, by_exception: bool = False) -> None:
        super().__init__(problem, remedy)
        self.by_exception = by_exception


@dataclass(frozen=True)
class Step:
    """A request and the seconds it may take."""

    request: Request
    limit_s: float


@dataclass(frozen=True)
class Process:
    """A worker process that runs.

    Attributes:
        child: the process, leader of its own session and process group.
        folder: its temporary files and its standard error; they end with it.
    """

    child: subprocess.Popen[bytes]
    folder: tempfile.TemporaryDirectory[str]

    @property
    def errors(self) -> Path:
        """Where its standard error goes."""
        return Path(self.folder.name, "stderr")


@final
class Worker:
    """Answers requests on one target, each within its time, from a process that is started when needed.

    A process that hangs, crashes or writes something senseless is killed with all that it started, and the request
    raises; the next request gets a fresh one. Not to be shared between threads.

    Args:
        target: of all requests.
        start_s: seconds that starting the process and importing the backend may take, and for a remote device
            reaching it.
        prelude: what every fresh process is asked first, e.g. to load the anchor.
    """

    def __init__(self, target: Target, start_s: float, prelude: Sequence[Step] = ()) -> None:
        self._target = target
        self._prelude = (Step(Open(target), start_s), *prelude)
        self._process: Process | None = None
        self._prelude_values: tuple[object, ...] = ()

    def start(self) -> tuple[object, ...]:
        """Starts a process where none runs; the values of opening the target and of the prelude.

        Raises:
            WorkerLost, DeviceError, LatencyError: as for `ask`.
        """
        if self._process is not None and _has_ended(self._process.child):
            self.kill()  # died between two requests, which is no request's fault
        if self._process is None:
            self._process = _started(BACKENDS[self._target.access, self._target.runtime, self._target.device])
            try:
                self._prelude_values = tuple(self._ask(step.request, step.limit_s) for step in self._prelude)
            except LatencyError:
                self.kill()
                raise
        return self._prelude_values

    def ask(self, request: Request, limit_s: float) -> object:
        """The value of a request.

        Raises:
            WorkerLost: the process hung, crashed or wrote something senseless.
            DeviceError, LatencyError: what the request raised in the process, which goes on.
        """
        self.start()
        return self._ask(request, limit_s)

    @property
    def pid(self) -> int | None:
        """Of the process, where one runs."""
        return self._process.child.pid if self._process else None

    def kill(self) -> None:
        """Ends the process, where one runs, with all that it started."""
        if self._process is not None:
            process, self._process = self._process, None
            _end(process)

    def _ask(self, request: Request, limit_s: float) -> object:
        assert self._process is not None
        child = self._process.child
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            write_frame(child.stdin.fileno(), request, limit_s)
            answer = read_frame(child.stdout.fileno(), limit_s)
        except TimeoutError as error:
            raise self._lost(request, f"did not answer within {limit_s:g} s and was killed", error) from error
        except (EOFError, BrokenPipeError) as error:
            raise self._lost(request, "", error) from error
        except GarbledError as error:
            raise self._lost(request, f"wrote something senseless ({error}) and was killed", error) from error
        except BaseException:  # interrupted half-way through a message: the next one could not be understood
            self.kill()
            raise
        if isinstance(answer, Refused):
            raise (DeviceError if answer.device else LatencyError)(answer.problem, answer.remedy)
        if isinstance(answer, Answer):
            return answer.value
        raise self._lost(request, f"answered with a {type(answer).__name__} and was killed", None)

    def _lost(self, request: Request, how: str, error: Exception | None) -> WorkerLost:
        process = self._process
        assert process is not None
        ended_itself = not how and _ends_soon(process.child)
        words = _last_words(process.errors)
        self.kill()
        if not how:
            how = _how(process.child.returncode) if ended_itself else "closed its pipes and was killed"
        return WorkerLost(
            f"The worker process for {self._target.label} {how} while {doing(request)}."
            + (f" It last wrote: {words}" if words else ""),
            "A fresh process serves the next request; leave this network out if it happens again.",
            by_exception=ended_itself and process.child.returncode > 0,
        )


def _started(module: str) -> Process:
    folder = tempfile.TemporaryDirectory(prefix="understudy-worker-")
    # The very modules that this process would import, and none from the folder that it happens to run in.
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": folder.name}
    command = [sys.executable, "-P", "-m", "latency_models.worker_main", module, str(os.getpid())]
    with Path(folder.name, "stderr").open("wb") as errors:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,
            bufsize=0,
        )
    return Process(child, folder)


def _end(process: Process) -> None:
    # Not reaped yet, so that the number of its group cannot have passed on to another one.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.child.pid, signal.SIGKILL)
    process.child.wait()
    for pipe in (process.child.stdin, process.child.stdout):
        assert pipe is not None
        pipe.close()
    process.folder.cleanup()


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended, without reaping it."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _ends_soon(child: subprocess.Popen[bytes]) -> bool:
    """Gives a process that has closed its pipes a moment to end by itself, so that the cause can be told."""
    end_s = time.monotonic() + OWN_END_S
    while not _has_ended(child):
        if time.monotonic() >= end_s:
            return False
        time.sleep(0.005)
    return True


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"exited with {returncode}"
    name = signal.Signals(-returncode).name
    return f"was killed by {name}" + (" (as the kernel does when memory runs out)" if name == "SIGKILL" else "")


def _last_words(errors: Path) -> str:
    try:
        words = errors.read_bytes()[-4 * LAST_WORDS :].decode(errors="replace").strip()
    except OSError:
        return ""
    return " ".join(words.split())[-LAST_WORDS:]
