"""The worker process: runs what could hang or crash, one request at a time.

Started by `latency_models.worker.Worker` as `python -m latency_models.worker_main MODULE PARENT`, with requests on
standard input and answers on standard output. MODULE is the backend that serves the target; nothing else that is heavy
is imported.
"""

import ctypes
import importlib
import os
import select
import signal
import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Protocol, cast, runtime_checkable

from latency_models.backend import Backend, Estimator, Loaded
from latency_models.errors import DeviceError, LatencyError
from latency_models.frames import read_frame, write_frame
from latency_models.requests import Answer, Drop, Kernels, Load, Open, Outputs, Refused, Request, Sample
from latency_models.target import Target
from latency_models.timing import visit

PR_SET_PDEATHSIG = 1
IDLE_S = 10.0
"""After so long without a request a device is handed back, so that others can use it meanwhile."""


@runtime_checkable
class Releasing(Protocol):
    """A backend that holds something which others may want."""

    def release(self) -> None:
        """Hands it back; the next request takes it again."""


@dataclass(frozen=True)
class Served:
    """What a worker has open.

    Attributes:
        backend: the module.
        target: of all requests.
        loaded: name to network.
    """

    backend: ModuleType
    target: Target
    loaded: dict[str, Loaded] = field(default_factory=dict)


def main() -> None:
    """Serves until standard input ends."""
    _die_with(int(sys.argv[2]))
    answers = os.dup(1)
    os.dup2(2, 1)  # what native code prints must not get among the answers
    backend = importlib.import_module(sys.argv[1])
    served: Served | None = None
    while True:
        try:
            request = cast(Request, _next_request(backend))
        except EOFError:
            return
        try:
            if isinstance(request, Open):
                served = Served(backend, request.target)
            if served is None:
                raise ValueError("the first request opens a target")
            answer: Answer | Refused = Answer(_answer(served, request))
        except LatencyError as error:
            answer = Refused(error.problem, error.remedy, isinstance(error, DeviceError))
        write_frame(answers, answer)


def _next_request(backend: ModuleType) -> object:
    if isinstance(backend, Releasing) and not select.select([0], [], [], IDLE_S)[0]:
        backend.release()
    return read_frame(0)


def _answer(served: Served, request: Request) -> object:
    backend, target, loaded = cast(Backend, served.backend), served.target, served.loaded
    match request:
        case Open():
            return backend.environment(target)
        case Load(name, artifact, feed):
            loaded.pop(name, None)
            loaded[name] = backend.load(artifact, target, feed)
            return None
        case Drop(names):
            for name in names:
                loaded.pop(name, None)
            return None
        case Sample(names, anchor, plan):
            return visit({name: loaded[name] for name in names}, loaded[anchor], plan)
        case Outputs(name, feed):
            return loaded[name].outputs(feed)
        case Kernels(artifact, feed):
            if target.access == "estimate":
                return cast(Estimator, served.backend).estimate(artifact, target, feed)
            return backend.kernels(artifact, target, feed)


def _die_with(parent: int) -> None:
    """Has the kernel kill this process when its parent dies, even while native code runs here (Linux only).

    Elsewhere the end of standard input ends it, between two requests.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent died before this process began")


if __name__ == "__main__":
    main()
