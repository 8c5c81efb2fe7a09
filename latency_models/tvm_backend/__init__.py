"""Running an artifact with TVM on this machine's processor: compiled without tuning, by fixed schedules.

TVM takes seconds to import, so that only functions that compile do.
"""

import os
from importlib import metadata
from typing import TYPE_CHECKING

from latency_models import onnxruntime_backend
from latency_models.artifact import Artifact
from latency_models.backend import Feed, Missing
from latency_models.host import host_processor
from latency_models.kernel import KernelTime
from latency_models.target import Target
from latency_models.tvm_backend.tuned_store import known

if TYPE_CHECKING:
    from latency_models.tvm_backend.runner import TvmRunner

# Before TVM is loaded: its idle threads otherwise spin through whatever is timed next, and wake up late after it (a
# small kernel on two threads after a pause of 3 ms: 894 microseconds with TVM's own 300,000 turns, 56 with these).
os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "2000")

PACKAGES = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post1"}
"""Versions that work together: later ones of apache-tvm-ffi crash TVM 0.27 when it saves an expression."""


def missing(target: Target) -> list[Missing]:
    """TVM's packages, where they are absent or of another version."""
    remedy = "pip install " + " ".join(f"{name}=={version}" for name, version in PACKAGES.items())
    found = {name: _version(name) for name in PACKAGES}
    return [
        Missing(f"the package {name} {version}" + (f" (version {found[name]} is here)" if found[name] else ""), remedy)
        for name, version in PACKAGES.items()
        if found[name] != version
    ]


def environment(target: Target) -> dict[str, str]:
    """What else a latency on this machine depends on: also which kernels have a tuned schedule stored."""
    base = onnxruntime_backend.environment(target)
    del base["onnxruntime"]
    tuned = known(target.processor or host_processor(), target.n_threads)
    about = {"n_tuned": str(len(tuned.kernels)), "tuned": tuned.digest}
    return base | {name: _version(name) for name in PACKAGES} | about


def load(artifact: Artifact, target: Target, feed: Feed) -> "TvmRunner":
    """Compiles an artifact, checks its outputs on the feed against ONNX Runtime's, and binds the feed.

    Raises:
        LatencyError: the file is missing, changed or does not load; the feed does not fit; an output is not finite; TVM
            cannot compile an operator or has no schedule for a kernel; the outputs are not ONNX Runtime's.
    """
    from latency_models.tvm_backend import runner

    return runner.load(artifact, target, feed)


def kernels(artifact: Artifact, target: Target, feed: Feed) -> list[KernelTime]:
    """The time of each kernel of one inference, in order of execution.

    Raises:
        LatencyError: as for `load`.
    """
    from latency_models.tvm_backend import runner

    return runner.kernel_times(runner.load(artifact, target, feed).compiled)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
