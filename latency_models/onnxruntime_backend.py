"""Running an artifact with ONNX Runtime on this machine's processor."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from latency_models.artifact import Artifact
from latency_models.backend import Feed, Missing
from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from latency_models.target import Target

ORT_ERRORS = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
"""What ONNX Runtime raises; its exceptions have no base of their own."""

DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


@dataclass(frozen=True)
class OrtRunner:
    """An artifact loaded and bound to one feed; `run` satisfies `latency_models.timing.Runner`.

    The feed and its outputs are bound once, which leaves about 5 microseconds of Python around an inference instead of
    10 with a dictionary of arrays; nothing of the network's own work is left out, as the runtime still reads the whole
    input and writes the whole output each time.
    """

    session: ort.InferenceSession
    binding: ort.IOBinding

    def run(self) -> None:
        """One inference of the feed given to `load`."""
        self.session.run_with_iobinding(self.binding)

    def outputs(self, feed: Feed) -> list[NDArray[np.generic]]:
        """The network's outputs for another feed, in the graph's order.

        Raises:
            LatencyError: the feed does not fit, or an output is NaN or infinite.
        """
        _check_feed(self.session, feed)
        return _finite_outputs(self.session, feed)


def load(artifact: Artifact, target: Target, feed: Feed) -> OrtRunner:
    """Opens an artifact, checks it on the feed and binds it.

    The file is checked against its digest, so that what is timed is what was exported. Loading and running are native
    code: a hostile file could hang or crash the process.

    Args:
        artifact: the ONNX file, weights inside.
        target: its `n_threads` are used within an inference.
        feed: one value for each input of the graph.

    Raises:
        LatencyError: the file is missing, changed or does not load; the feed does not fit; an output is not finite.
    """
    try:
        session = ort.InferenceSession(artifact.read(), _options(target), providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise LatencyError(
            f"ONNX Runtime cannot load {artifact.path}: {_first_line(error)}.",
            "Export the student again, or check that its operators are supported.",
        ) from error
    _check_feed(session, feed)
    outputs = _finite_outputs(session, feed)
    binding = session.io_binding()
    for name, array in feed.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)))
    for output, array in zip(session.get_outputs(), outputs, strict=True):
        binding.bind_ortvalue_output(output.name, ort.OrtValue.ortvalue_from_numpy(array))
    return OrtRunner(session, binding)


def kernels(artifact: Artifact, target: Target, feed: Feed) -> list[KernelTime]:
    """The time of each kernel of one inference, in order of execution; see `onnxruntime_kernels.profiled`.

    Raises:
        LatencyError: as for `load`.
    """
    from latency_models.onnxruntime_kernels import profiled  # needs the package onnx, which running does not

    return profiled(artifact, feed, load(artifact, target, feed), lambda: _options(target))


def missing(target: Target) -> list[Missing]:
    """Nothing: ONNX Runtime comes with the installation, and the processor is this machine's."""
    return []


def environment(target: Target) -> dict[str, str]:
    """What else a latency on this machine depends on."""
    return {
        "processor": _processor(),
        "n_cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "n_threads": str(target.n_threads),
        "os": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": ort.__version__,
        "numpy": np.__version__,
    }


def _options(target: Target) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = target.n_threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # Threads spin between the layers of an inference, as they do where the network is shipped (sleeping instead costs a
    # wake-up a layer), but stop when it ends: otherwise the candidate's idle threads would slow the anchor's turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _check_feed(session: ort.InferenceSession, feed: Feed) -> None:
    expected = {value.name: value for value in session.get_inputs()}
    if set(feed) != set(expected):
        raise LatencyError(
            f"The network's inputs are {sorted(expected)}, the feed's are {sorted(feed)}.",
            "Give one array for each input of the network, under its name.",
        )
    for name, value in expected.items():
        array = feed[name]
        dims = value.shape
        fits = len(dims) == array.ndim and all(
            not isinstance(dim, int) or dim == size for dim, size in zip(dims, array.shape, strict=True)
        )
        if not fits or DTYPES.get(value.type) != array.dtype.name:
            raise LatencyError(
                f"Input {name} takes {value.type} of shape {dims}, the feed has {array.dtype.name} of shape "
                f"{list(array.shape)}.",
                "Give arrays of the shape and type that the network was exported for.",
            )


def _finite_outputs(session: ort.InferenceSession, feed: Feed) -> list[NDArray[np.generic]]:
    try:
        outputs: list[NDArray[np.generic]] = session.run(None, dict(feed))
    except ORT_ERRORS as error:
        raise LatencyError(
            f"ONNX Runtime cannot run the network: {_first_line(error)}.",
            "Check that the inputs have the shapes it was exported for.",
        ) from error
    for output, array in zip(session.get_outputs(), outputs, strict=True):
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise LatencyError(
                f"Output {output.name} holds NaN or infinite values.",
                "Check the network's weights and the inputs for NaN, and its calibration where it is int8.",
            )
    return outputs


def _processor() -> str:
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.is_file():
        for line in cpu_info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
