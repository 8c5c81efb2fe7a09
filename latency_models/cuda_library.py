"""NVIDIA's libraries by way of ctypes: are they there, and events on a stream for timing on the device."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

from latency_models.backend import Missing
from latency_models.errors import DeviceError

DRIVER = "libcuda.so.1"
MAPS = Path("/proc/self/maps")


def loads(library: str) -> bool:
    """Whether a shared library is found and loads."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing_driver() -> list[Missing]:
    """NVIDIA's driver, where it is not there; no device is asked."""
    if loads(DRIVER):
        return []
    return [
        Missing(
            f"an NVIDIA GPU with its driver ({DRIVER})",
            "Install NVIDIA's driver, or search on a machine that has a GPU.",
        )
    ]


def loaded_library(prefix: str, maps: Path = MAPS) -> str | None:
    """Path of the first shared library of this process whose file name begins with `prefix`, or None."""
    for line in maps.read_text().splitlines() if maps.is_file() else ():
        path = line.split(maxsplit=5)[5] if line.count("/") else ""
        if Path(path).name.startswith(prefix):
            return path
    return None


@final
class DeviceClock:
    """A stream and two events on it: seconds between them by the GPU's own clock, as of the CUDA runtime API.

    Args:
        runtime: CUDA's runtime library (libcudart), the one that the kernels to be timed are launched with.

    Raises:
        DeviceError: the runtime refuses.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.stream = self._new("cudaStreamCreate")
        self._events = self._new("cudaEventCreate"), self._new("cudaEventCreate")

    def seconds(self, work: Callable[[], None]) -> float:
        """Seconds from the first to the last thing that `work` puts on the stream, finished on return."""
        start, end = self._events
        self._call("cudaEventRecord", start, self.stream)
        work()
        self._call("cudaEventRecord", end, self.stream)
        self._call("cudaEventSynchronize", end)
        elapsed_ms = ctypes.c_float()
        self._call("cudaEventElapsedTime", ctypes.byref(elapsed_ms), start, end)
        return elapsed_ms.value * 1e-3

    def wait(self) -> None:
        """Returns when everything on the stream is done."""
        self._call("cudaStreamSynchronize", self.stream)

    def _new(self, function: str) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        self._call(function, ctypes.byref(made))
        return made

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._runtime, function)(*arguments)
        if status != 0:
            raise DeviceError(f"CUDA's {function} failed with error {status}.", "Check the GPU with `nvidia-smi`.")
