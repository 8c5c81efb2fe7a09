"""Running an artifact on a device that runs TVM's RPC server: compiled here, uploaded, timed by the device's clock."""

import importlib.util
import itertools
import shutil
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from latency_models.agreement import check_agreement, reference_outputs
from latency_models.artifact import Artifact
from latency_models.backend import Feed, Missing
from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from latency_models.precisions import check_precision
from latency_models.target import Target

if TYPE_CHECKING:  # importing TVM takes 2 s and may fail, and `missing` has to answer all the same
    from latency_models.board import Board, Lease
    from latency_models.tvm_backend.build import Compiled
    from latency_models.tvm_backend.lowering import Kernel

_BOARDS: dict[Target, "Board"] = {}
"""The devices of this process: one, as a worker serves one target."""

_NUMBERS = itertools.count()
N_KERNEL_SAMPLES = 5
KERNEL_SAMPLE_MS = 2


@final
@dataclass(frozen=True, eq=False)
class RemoteNetwork:
    """A network on a device, bound to one feed; satisfies `Loaded` and `SelfTimed`.

    It is uploaded when first needed, and again when the lease of the device was renewed in between; the uploaded file
    is removed at once, and what it takes in the device's memory when this object ends.

    Attributes:
        board: the device.
        library: the network compiled for it, weights inside; removed when this object ends.
        feed: its inputs, in the order of the graph.
    """

    board: "Board"
    library: Path
    feed: Feed

    def __post_init__(self) -> None:
        weakref.finalize(self, self.library.unlink, missing_ok=True)

    def run(self) -> None:
        """One inference, finished on return.

        Raises:
            DeviceError: the device fails.
        """
        with self.board.guarded():
            self._machine().invoke_stateful("main")

    def sample_s(self, n_samples: int, n_inferences: int) -> Sequence[float]:
        """Seconds of one inference by the device's own clock, each the mean over `n_inferences` in a row.

        Raises:
            DeviceError: the device fails.
        """
        with self.board.guarded():
            machine, device = self._machine(), self.board.lease().device
            timed = machine.time_evaluator("invoke_stateful", device, number=n_inferences, repeat=n_samples)
            return [float(seconds) for seconds in timed("main").results]

    def outputs(self, feed: Feed) -> list[NDArray[np.generic]]:
        """The network's outputs for another feed of the same shapes and types.

        Raises:
            DeviceError: the device fails.
            LatencyError: the feed does not fit.
        """
        if (given := _described(feed)) != (bound := _described(self.feed)):
            raise LatencyError(
                f"The network is compiled for the inputs {bound}, the feed has {given}.",
                "Give arrays of the shapes and types that it was loaded with.",
            )
        with self.board.guarded():
            machine = self._machine()
            self._bind(machine, feed)
            machine.invoke_stateful("main")
            found = machine.get_outputs("main")
            arrays = [array.numpy() for array in (found if isinstance(found, tuple) else (found,))]
            self._bind(machine, self.feed)
        return arrays

    def _machine(self) -> Any:
        """TVM's virtual machine on the device, with the feed bound."""
        from tvm import relax

        lease = self.board.lease()
        if self not in lease.loaded:
            machine = relax.VirtualMachine(uploaded(self.library, lease), lease.device)
            self._bind(machine, self.feed)
            lease.loaded[self] = machine
        return lease.loaded[self]

    def _bind(self, machine: Any, feed: Feed) -> None:
        import tvm

        device = self.board.lease().device
        arrays = (np.ascontiguousarray(feed[name]) for name in self.feed)
        machine.set_input("main", *(tvm.runtime.tensor(array, device) for array in arrays))


def missing(target: Target) -> list[Missing]:
    """What this machine lacks for compiling for the device; the device itself is not asked."""
    found = []
    if importlib.util.find_spec("tvm") is None:
        found.append(Missing("the package apache-tvm", "pip install understudy-nas"))
    compiler = target.remote.compiler if target.remote else ""
    if shutil.which(compiler) is None:
        found.append(
            Missing(
                f"the compiler {compiler or 'that links for the device'}",
                "apt-get install gcc-aarch64-linux-gnu, or set `compiler` in the profile",
            )
        )
    return found


def environment(target: Target) -> dict[str, str]:
    """What else a latency on the device depends on; asks the device.

    Raises:
        DeviceError: it is out of reach.
        LatencyError: it is emulated and the profile does not say so.
    """
    import tvm

    processor = target.processor
    compiled_for = f"{processor.triple} {processor.cpu} {processor.features}".strip() if processor else ""
    return {
        **board_of(target).lease().facts.environment(),
        "n_threads": str(target.n_threads),
        "tvm": str(tvm.__version__),
        "compiled_for": compiled_for,
        "clock": "the device's own",
    }


def load(artifact: Artifact, target: Target, feed: Feed) -> RemoteNetwork:
    """Compiles an artifact for the device, runs it there, and compares its outputs with ONNX Runtime's here.

    Raises:
        DeviceError: the device is out of reach or fails.
        LatencyError: as for `Backend.load`.
    """
    check_precision(target, artifact)
    wanted = reference_outputs(artifact, feed)
    board = board_of(target)
    compiled = _compile(artifact, target, feed)
    library = compiled.export(_file_for(artifact.digest[:12], board), _compiler(target))
    network = RemoteNetwork(board, library, {one.name: feed[one.name] for one in compiled.lowered.graph.inputs})
    check_agreement(wanted, network.outputs(feed), artifact.precision, target.label)
    return network


def kernels(artifact: Artifact, target: Target, feed: Feed) -> list[KernelTime]:
    """The time of each kernel of one inference by the device's own clock, in order of execution.

    Each is run by itself over and over, so that its data lie in the caches as far as they fit.

    Raises:
        DeviceError: the device is out of reach or fails.
        LatencyError: as for `Backend.load`.
    """
    check_precision(target, artifact)
    reference_outputs(artifact, feed)
    board = board_of(target)
    compiled = _compile(artifact, target, feed)
    with board.guarded():
        seconds = _kernel_seconds(compiled, board, _compiler(target))
    return compiled.lowered.times([seconds[name] for name in compiled.lowered.calls])


def release() -> None:
    """Gives the device back; the next request takes it again."""
    for board in _BOARDS.values():
        board.release()


def board_of(target: Target) -> "Board":
    """The board of a target, one for this process."""
    from latency_models.board import Board

    if target not in _BOARDS:
        _BOARDS[target] = Board(target)
    return _BOARDS[target]


def _compile(artifact: Artifact, target: Target, feed: Feed) -> "Compiled":
    from latency_models.tvm_backend.build import compile_network

    return compile_network(artifact, target, {name: array.shape for name, array in feed.items()})


def _compiler(target: Target) -> str:
    assert target.remote is not None
    return target.remote.compiler


def _file_for(name: str, board: "Board") -> Path:
    return board.folder / f"{name}-{next(_NUMBERS)}.so"


def _kernel_seconds(compiled: "Compiled", board: "Board", compiler: str) -> dict[str, float]:
    """Kernel name to the seconds of one call.

    The device's server finds functions of a library only where they are its own, and not in what it imports, as a whole
    network does its kernels: they are uploaded by themselves.
    """
    from tvm.support import cc

    lease, found = board.lease(), list[tuple[Any, Any]]()
    seconds: dict[str, float] = {}
    for kernel in compiled.lowered.kernels:
        code = compiled.codes[kernel.name]
        there = next((remote for here, remote in found if here.same_as(code.module)), None)
        if there is None:
            library = _file_for("kernels", board)
            code.module.export_library(str(library), fcompile=cc.cross_compiler(compiler))
            there = uploaded(library, lease)
            library.unlink()
            found.append((code.module, there))
        seconds[kernel.name] = _kernel_s(kernel, there, code.symbol, lease.device)
    return seconds


def uploaded(library: Path, lease: "Lease") -> Any:
    """A library as a module on the device, where its file is removed at once."""
    lease.session.upload(str(library))
    try:
        return lease.session.load_module(library.name)
    finally:
        lease.session.remove(library.name)


def _kernel_s(kernel: "Kernel", module: Any, symbol: str, device: Any) -> float:
    import tvm

    generator = np.random.default_rng(0)
    arrays = (generator.uniform(0.1, 1.0, one.shape).astype(one.dtype) for one in kernel.arguments)
    tensors = [tvm.runtime.tensor(array, device) for array in arrays]
    timed = module.time_evaluator(symbol, device, number=1, repeat=N_KERNEL_SAMPLES, min_repeat_ms=KERNEL_SAMPLE_MS)
    return float(timed(*tensors).median)


def _described(feed: Feed) -> dict[str, str]:
    return {name: f"{array.dtype}{list(array.shape)}" for name, array in sorted(feed.items())}
