"""Kernels that were tuned on this machine: one small file each in the user's cache folder. Knows nothing of TVM."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from latency_models import onnxruntime_backend
from latency_models.cache import user_folder
from latency_models.errors import LatencyError
from latency_models.target import Processor, Target

FORMAT = 1
PACKAGES = ("apache-tvm", "apache-tvm-ffi")


@dataclass(frozen=True)
class TunedKernel:
    """A schedule that beat the fixed rule's for one kernel.

    Attributes:
        kernel: structural hash of the unscheduled kernel, 16 hexadecimal digits.
        name: what it was called in the network that it was tuned for.
        trace: MetaSchedule's steps as JSON; empty where a search found nothing better than the fixed rule.
        before_s, after_s: seconds of one execution by the fixed rule and by the trace, measured interleaved.
        ratio, ratio_low, ratio_high: after to before with its 95 % interval.
        n_trials: schedules that were tried.
    """

    kernel: str
    name: str
    trace: list[Any]
    before_s: float
    after_s: float
    ratio: float
    ratio_low: float
    ratio_high: float
    n_trials: int

    @property
    def digest(self) -> str:
        """Of what the kernel is scheduled by."""
        return hashlib.sha256(json.dumps([self.kernel, self.trace]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Stored:
    """All tuned kernels for a processor, a number of threads and versions.

    Attributes:
        kernels: structural hash to kernel.
        searched: hashes of kernels for which a search found nothing better than the fixed rule.
        damaged: what lies among them and cannot be read, in words; ignored.
    """

    kernels: Mapping[str, TunedKernel] = field(default_factory=dict)
    searched: frozenset[str] = frozenset()
    damaged: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Differs where any kernel is scheduled otherwise; empty where none is tuned."""
        if not self.kernels:
            return ""
        return hashlib.sha256("".join(sorted(one.digest for one in self.kernels.values())).encode()).hexdigest()[:16]


NOTHING = Stored()


def facts(processor: Processor, n_threads: int) -> dict[str, str]:
    """What a tuned schedule holds for: the cores, the threads, TVM's version."""
    cores = {
        name: str(getattr(processor, name))
        for name in ("triple", "cpu", "features", "vector_bits", "n_vector_registers")
    }
    here = {} if processor.triple else {"processor": onnxruntime_backend.environment(Target())["processor"]}
    versions = {name: _version(name) for name in PACKAGES}
    return {**cores, **here, **versions, "n_threads": str(n_threads)}


def folder_for(processor: Processor, n_threads: int) -> Path:
    """Where such kernels lie; it need not exist."""
    text = json.dumps(facts(processor, n_threads), sort_keys=True)
    return user_folder() / "tuned" / hashlib.sha256(text.encode()).hexdigest()[:16]


def stored(processor: Processor, n_threads: int) -> Stored:
    """Reads the kernels; a file that is damaged is left out and named."""
    kernels, searched, damaged = dict[str, TunedKernel](), set[str](), list[str]()
    for path in sorted(folder_for(processor, n_threads).glob("*.json")):
        try:
            kernel = _read(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            damaged.append(f"The tuned kernel {path} cannot be read and is ignored ({error}); delete the file.")
        else:
            if kernel.trace:
                kernels[kernel.kernel] = kernel
            else:
                searched.add(kernel.kernel)
    return Stored(kernels, frozenset(searched), tuple(damaged))


@cache
def known(processor: Processor, n_threads: int) -> Stored:
    """The kernels as they were when this process first asked, so that all its latencies are of one kind."""
    return stored(processor, n_threads)


def forget_known() -> None:
    """Reads anew when asked next, as a new process would."""
    known.cache_clear()


def keep(kernel: TunedKernel, processor: Processor, n_threads: int) -> Path:
    """Writes a kernel's file, whole or not at all; an earlier one of the same kernel is replaced.

    Raises:
        LatencyError: the folder cannot be written.
    """
    folder = folder_for(processor, n_threads)
    path = folder / f"{kernel.kernel}.json"
    content = {"format": FORMAT, "facts": facts(processor, n_threads), **asdict(kernel)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(content))
        part.replace(path)
    except OSError as error:
        raise LatencyError(
            f"The tuned kernel cannot be written to {path}: {error.strerror}.",
            "Free disk space, or set XDG_CACHE_HOME to a folder that can be written.",
        ) from error
    return path


def _read(path: Path) -> TunedKernel:
    content = json.loads(path.read_text())
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise ValueError("it is of another format")
    content.pop("facts")
    kernel = TunedKernel(**content)
    if kernel.kernel != path.stem or not isinstance(kernel.trace, list):
        raise ValueError("it is not what its name says")
    return kernel


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
