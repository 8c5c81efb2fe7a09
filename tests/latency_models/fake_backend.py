"""A backend for tests of the worker: the feed says what happens to an artifact."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latency_models.artifact import Artifact
from latency_models.backend import Feed
from latency_models.errors import DeviceError, LatencyError
from latency_models.kernel import KernelTime
from latency_models.target import Target


@dataclass(frozen=True)
class Fake:
    """Sleeps as long as the artifact's file says, or does what else it says."""

    does: str

    def run(self) -> None:
        if self.does.startswith("sleeps "):
            time.sleep(float(self.does.removeprefix("sleeps ")))
        act(self.does.removeprefix("run: "))

    def outputs(self, feed: Feed) -> list[NDArray[np.generic]]:
        return [np.asarray(feed["x"]) * 2]


def act(does: str) -> None:
    """Misbehaves."""
    if does == "segfaults":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif does == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif does == "hangs":
        time.sleep(1000)
    elif does == "raises":
        raise RuntimeError("a bug of the backend")
    elif does == "prints":
        os.write(1, b"chatter\n")
    elif does == "garbles":
        for fd in range(3, 20):  # the pipe for answers is one of them
            try:
                os.write(fd, b"this is not a frame at all")
            except OSError:
                continue
        time.sleep(1000)
    elif does == "closes its pipes":
        os.closerange(0, 20)
        time.sleep(1000)
    elif does == "starts a child and hangs":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        Path(os.environ["FAKE_CHILD"]).write_text(str(child.pid))
        time.sleep(1000)
    elif does == "is refused":
        raise LatencyError("No such operator.", "Leave it out.")
    elif does == "loses its device":
        raise DeviceError("The cable is out.", "Plug it in.")


def missing(target: Target) -> list[object]:
    return []


def environment(target: Target) -> dict[str, str]:
    if "FAKE_DEVICE" in os.environ:  # a device that is there as long as a file is
        with Path(os.environ["FAKE_STARTS"]).open("a") as starts:
            starts.write("start\n")
        if not Path(os.environ["FAKE_DEVICE"]).exists():
            raise DeviceError("No device answers.", "Switch it on.")
    return {"processor": "fake", "n_threads": str(target.n_threads), "pid": str(os.getpid())}


def load(artifact: Artifact, target: Target, feed: Feed) -> Fake:
    does = artifact.read().decode()
    if does == "loses its device once":
        marker = artifact.path.with_suffix(".once")
        if not marker.exists():
            marker.touch()
            raise DeviceError("The cable is out.", "Plug it in.")
        does = "sleeps 0.002"
    act(does.removeprefix("load: "))
    return Fake(does)


def kernels(artifact: Artifact, target: Target, feed: Feed) -> list[KernelTime]:
    return [KernelTime("sleep", "Sleep", 0.5)]


def estimate(artifact: Artifact, target: Target, feed: Feed) -> list[KernelTime]:
    does = artifact.read().decode()
    act(does)
    return [KernelTime("a", "Conv", float(does)), KernelTime("b", "Conv", 1.0)]
