"""What a worker process can be asked, and how it answers."""

from dataclasses import dataclass

from latency_models.artifact import Artifact
from latency_models.backend import Feed
from latency_models.target import Target
from latency_models.timing import Plan


@dataclass(frozen=True)
class Open:
    """The first request: what the worker works for. The value is its environment.

    Attributes:
        target: of all that follows.
    """

    target: Target


@dataclass(frozen=True)
class Load:
    """Prepares an artifact and keeps it under a name; one loaded under the same name before is dropped.

    Attributes:
        name: for later requests.
        artifact, feed: as for `Backend.load`.
    """

    name: str
    artifact: Artifact
    feed: Feed


@dataclass(frozen=True)
class Drop:
    """Forgets what is loaded under these names."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """Samples loaded candidates against a loaded anchor, interleaved; the value is a visit for each name.

    Attributes:
        names: of the candidates.
        anchor: name of the anchor.
        plan: how.
    """

    names: tuple[str, ...]
    anchor: str
    plan: Plan


@dataclass(frozen=True)
class Outputs:
    """Computes a loaded network's outputs for another feed; the value is a list of arrays."""

    name: str
    feed: Feed


@dataclass(frozen=True)
class Kernels:
    """Times, or with an estimating target estimates, the kernels; the value is a list of `KernelTime`."""

    artifact: Artifact
    feed: Feed


Request = Open | Load | Drop | Sample | Outputs | Kernels


@dataclass(frozen=True)
class Answer:
    """What a request came to."""

    value: object


@dataclass(frozen=True)
class Refused:
    """A request failed with a LatencyError; the worker goes on.

    Attributes:
        problem, remedy: the error's.
        device: whether it was a DeviceError.
    """

    problem: str
    remedy: str
    device: bool


def doing(request: Request) -> str:
    """What a worker does with a request, in words."""
    match request:
        case Open():
            return "opening the target"
        case Load(name):
            return f"loading {name}"
        case Drop(names):
            return f"dropping {', '.join(names)}"
        case Sample(names):
            return f"timing {', '.join(names)}"
        case Outputs(name):
            return f"computing the outputs of {name}"
        case Kernels(artifact):
            return f"timing the kernels of {artifact.path.name}"
