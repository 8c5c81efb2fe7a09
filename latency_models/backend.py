"""What makes a target run or estimate artifacts: the protocol, and the one table of those there are."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from latency_models.artifact import Artifact
from latency_models.kernel import KernelTime
from latency_models.target import Access, Device, Runtime, Target
from latency_models.timing import Runner

Feed = Mapping[str, NDArray[np.generic]]
"""Input name to array, batch axis included."""


@dataclass(frozen=True)
class Missing:
    """Something a target needs that is not there.

    Attributes:
        what: e.g. `the package apache-tvm`.
        remedy: how to get it, a command where there is one.
    """

    what: str
    remedy: str


class Loaded(Runner, Protocol):
    """An artifact that is ready to run."""

    def outputs(self, feed: Feed) -> list[NDArray[np.generic]]:
        """The network's outputs for another feed of the same shapes, in the graph's order.

        Raises:
            LatencyError: the feed does not fit, or an output is NaN or infinite.
        """


class Backend(Protocol):
    """A module that satisfies this serves a kind of target. Its functions are called in a worker process."""

    def missing(self, target: Target) -> list[Missing]:
        """What this machine lacks for the target; nothing heavy is imported and no device is asked."""

    def environment(self, target: Target) -> dict[str, str]:
        """What else a latency on the target depends on: processor, versions, threads."""

    def load(self, artifact: Artifact, target: Target, feed: Feed) -> Loaded:
        """Prepares an artifact (opened, compiled, uploaded), checks it on the feed, and binds the feed.

        Raises:
            LatencyError: the artifact is missing or changed, the target cannot do its precision or an operator, the
                feed does not fit, an output is not finite or not the artifact's.
        """

    def kernels(self, artifact: Artifact, target: Target, feed: Feed) -> list[KernelTime]:
        """The time of each kernel of one inference, in order of execution.

        Raises:
            LatencyError: as for `load`.
        """


class Estimator(Protocol):
    """A module that predicts without running: serves the targets whose access is `estimate`."""

    def missing(self, target: Target) -> list[Missing]:
        """As for `Backend`."""

    def environment(self, target: Target) -> dict[str, str]:
        """As for `Backend`."""

    def estimate(self, artifact: Artifact, target: Target, feed: Feed) -> list[KernelTime]:
        """The estimated time of each kernel of one inference; their sum is the network's.

        Raises:
            LatencyError: a core whose machine model is known to be wrong, or as for `Backend.load`.
        """


BACKENDS: dict[tuple[Access, Runtime, Device], str] = {
    ("local", "onnxruntime", "cpu"): "latency_models.onnxruntime_backend",
    ("local", "onnxruntime", "cuda"): "latency_models.onnxruntime_cuda",
    ("local", "tvm", "cpu"): "latency_models.tvm_backend",
    ("local", "tvm", "cuda"): "latency_models.tvm_cuda",
    ("rpc", "tvm", "cpu"): "latency_models.remote",
    ("rpc", "tvm", "cuda"): "latency_models.remote_cuda",
    ("estimate", "tvm", "cpu"): "latency_models.estimate",
}
"""Modules by name, as importing TVM takes seconds."""


def backend_of(target: Target) -> Backend:
    """The module that measures on a target."""
    return cast(Backend, importlib.import_module(BACKENDS[target.access, target.runtime, target.device]))


def estimator_of(target: Target) -> Estimator:
    """The module that estimates for a target."""
    return cast(Estimator, importlib.import_module(BACKENDS[target.access, target.runtime, target.device]))
