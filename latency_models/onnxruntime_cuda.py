"""Running an artifact with ONNX Runtime's CUDA provider, its inputs and outputs in the GPU's memory."""

import ctypes
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from latency_models import onnxruntime_backend
from latency_models.agreement import check_agreement, reference_outputs
from latency_models.artifact import Artifact
from latency_models.backend import Feed, Missing
from latency_models.cuda_library import DeviceClock, loaded_library, missing_driver
from latency_models.errors import DeviceError, LatencyError
from latency_models.kernel import KernelTime
from latency_models.onnxruntime_backend import ORT_ERRORS
from latency_models.precisions import check_precision
from latency_models.target import Target

CUDA = "CUDAExecutionProvider"
FLOATS = ("float", "float16", "bfloat16", "double")


@dataclass(frozen=True)
class OrtCudaRunner:
    """An artifact on the GPU, bound to one feed; satisfies `Loaded` and `SelfTimed`.

    Seconds are the GPU's own, between two events on the stream that ONNX Runtime computes on. Copying the input to the
    GPU and the output back is left out; the gaps in which the GPU waits for the next kernel to be launched are not.
    """

    session: ort.InferenceSession
    binding: ort.IOBinding
    clock: DeviceClock
    options: ort.RunOptions

    def run(self) -> None:
        """One inference of the feed given to `load`, finished on return."""
        self.session.run_with_iobinding(self.binding, self.options)
        self.clock.wait()

    def sample_s(self, n_samples: int, n_inferences: int) -> Sequence[float]:
        """Seconds of one inference, each the mean over `n_inferences` in a row."""

        def infer() -> None:
            for _ in range(n_inferences):
                self.session.run_with_iobinding(self.binding, self.options)

        return [self.clock.seconds(infer) / n_inferences for _ in range(n_samples)]

    def outputs(self, feed: Feed) -> list[NDArray[np.generic]]:
        """The network's outputs for another feed; see `Loaded.outputs`."""
        return onnxruntime_backend.OrtRunner(self.session, self.binding).outputs(feed)


def missing(target: Target) -> list[Missing]:
    """A GPU's driver, and an ONNX Runtime that has the provider."""
    found = missing_driver()
    if CUDA not in ort.get_available_providers():
        found.append(
            Missing(
                "ONNX Runtime with its CUDA provider (the package onnxruntime-gpu)",
                "pip uninstall onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'",
            )
        )
    return found


def environment(target: Target) -> dict[str, str]:
    """What else a latency on the GPU depends on."""
    return onnxruntime_backend.environment(target) | {"provider": CUDA, "tf32": "off", "clock": "CUDA events"}


def load(artifact: Artifact, target: Target, feed: Feed) -> OrtCudaRunner:
    """Opens an artifact on the GPU, checks it against the processor's outputs, and binds the feed in its memory.

    Raises:
        DeviceError: there is no GPU or no provider.
        LatencyError: as for `Backend.load`, or a part of the network would be computed on the processor.
    """
    check_precision(target, artifact)
    if lacking := missing(target):
        raise DeviceError(f"{target.name} needs {lacking[0].what}.", lacking[0].remedy)
    content, wanted = artifact.read(), reference_outputs(artifact, feed)
    clock = DeviceClock(_runtime_library())
    providers = [(CUDA, _provider_options(clock)), "CPUExecutionProvider"]
    check_placement(_profile(content, target, feed, providers), target.name)
    session = _session(content, _options(target), providers)
    binding = session.io_binding()
    for name, array in feed.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), "cuda", 0))
    for output in session.get_outputs():
        binding.bind_output(output.name, "cuda", 0)
    options = ort.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    runner = OrtCudaRunner(session, binding, clock, options)
    check_agreement(wanted, runner.outputs(feed), artifact.precision, target.name)
    return runner


def kernels(artifact: Artifact, target: Target, feed: Feed) -> list[KernelTime]:
    """Refuses: ONNX Runtime's profiler times the launching of a kernel on a GPU, not the kernel.

    Raises:
        LatencyError: always.
    """
    raise LatencyError(
        "ONNX Runtime does not say how long each kernel takes on a GPU.",
        "Name `tvm-cuda` for TVM's kernels, or look with NVIDIA's `nsys profile`.",
    )


def check_placement(events: Sequence[Mapping[str, Any]], name: str) -> None:
    """Refuses a profile in which a node with floating-point results ran on the processor.

    ONNX Runtime puts there what only computes shapes, in whole numbers, and rightly so.

    Args:
        events: of ONNX Runtime's profiler, for at least one inference.
        name: of the target, for the message.

    Raises:
        LatencyError: such a node did, or none ran on the GPU.
    """
    nodes = [event["args"] for event in events if event.get("cat") == "Node" and event.get("args", {}).get("provider")]
    on_processor = {
        node["op_name"]
        for node in nodes
        if node["provider"] != CUDA
        and any(kind in FLOATS for output in node.get("output_type_shape", ()) for kind in output)
    }
    if on_processor or not any(node["provider"] == CUDA for node in nodes):
        raise LatencyError(
            f"On {name} ONNX Runtime computes {', '.join(sorted(on_processor)) or 'everything'} on the processor.",
            "Leave this network out for this target: its latency would not be the GPU's.",
        )


def _profile(content: bytes, target: Target, feed: Feed, providers: Sequence[Any]) -> list[dict[str, Any]]:
    """The profiler's events of one inference."""
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        options = _options(target)
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(folder, "placement")
        session = _session(content, options, providers)
        session.run(None, dict(feed))
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text())
    return events


def _session(content: bytes, options: ort.SessionOptions, providers: Sequence[Any]) -> ort.InferenceSession:
    """A session on the first of the providers.

    Raises:
        LatencyError: ONNX Runtime cannot load the network, or fell back to another provider.
    """
    remedy = "Check that the CUDA and cuDNN that onnxruntime-gpu was built for are installed."
    try:
        session = ort.InferenceSession(content, options, providers=list(providers))
    except ORT_ERRORS as error:
        raise LatencyError(f"ONNX Runtime cannot load the network on the GPU: {error}.", remedy) from error
    if CUDA not in session.get_providers():
        raise DeviceError("ONNX Runtime has fallen back to the processor.", remedy)
    return session


def _provider_options(clock: DeviceClock) -> dict[str, str]:
    # TensorFloat-32 has float16's ten bits: float32 artifacts would be timed in a precision that nobody scored.
    return {
        "device_id": "0",
        "use_tf32": "0",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "user_compute_stream": str(clock.stream.value),
    }


def _options(target: Target) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = target.n_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def _runtime_library() -> Any:
    """The CUDA runtime that ONNX Runtime's provider is linked with."""
    ort.preload_dlls()
    path = loaded_library("libcudart.so")
    if path is None:
        raise DeviceError(
            "CUDA's runtime (libcudart) is not found.", "pip install 'onnxruntime-gpu[cuda,cudnn]', or install CUDA."
        )
    return ctypes.CDLL(path)
