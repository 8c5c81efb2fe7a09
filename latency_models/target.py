"""What a latency holds for: hardware, runtime and threads."""

from dataclasses import dataclass
from typing import Literal

Runtime = Literal["onnxruntime", "tvm"]
Device = Literal["cpu", "cuda"]
Access = Literal["local", "rpc", "estimate"]


@dataclass(frozen=True)
class Processor:
    """What a compiler and a machine model need to know of a processor's cores.

    Attributes:
        triple: LLVM target triple; empty for this machine.
        cpu: LLVM name of the core; empty for this machine's.
        features: LLVM features beside those of `cpu`, e.g. `+fullfp16`.
        vector_bits: of one vector register.
        n_vector_registers: of one core.
        float16: whether the core computes in half precision natively.
        clock_hz: cycles per second under load; 0 where unknown (only an estimate needs it).
        machine_model: LLVM name of the core whose scheduling model is believed; empty where none is.
        cache_bytes: sizes of the data caches that one core sees, innermost first.
        cache_bytes_per_cycle: what each of them, and last the memory, delivers; one entry more than `cache_bytes`.
    """

    triple: str = ""
    cpu: str = ""
    features: str = ""
    vector_bits: int = 128
    n_vector_registers: int = 32
    float16: bool = False
    clock_hz: float = 0.0
    machine_model: str = ""
    cache_bytes: tuple[int, ...] = ()
    cache_bytes_per_cycle: tuple[float, ...] = ()


@dataclass(frozen=True)
class Remote:
    """How a device that runs TVM's RPC server is reached.

    Attributes:
        host, port: of the server, or of the tracker where there is a `key`.
        key: under which the device is known to a tracker; empty for a server that is reached directly.
        compiler: C compiler that links for the device, e.g. `aarch64-linux-gnu-gcc`.
        connect_s, run_s: seconds after which connecting, and one compiling, uploading or timing step, is given up.
        priority: of a request to the tracker; higher ones are served first.
        emulated: whether an emulated device is accepted, whose times are no latencies. Its label then says so wherever
            a figure stands; without it a device that turns out to be emulated is refused, and with it a real one.
    """

    host: str = "127.0.0.1"
    port: int = 9090
    key: str = ""
    compiler: str = "aarch64-linux-gnu-gcc"
    connect_s: float = 10.0
    run_s: float = 120.0
    priority: int = 1
    emulated: bool = False


@dataclass(frozen=True)
class Target:
    """Hardware, runtime and threads.

    Attributes:
        name: as on the command line and in tables, e.g. `cpu`, `tvm-cpu`, `pi4`, `estimate:cortex-a72`.
        runtime: what runs the artifact.
        n_threads: of one inference.
        device: where it computes.
        access: run here, through TVM's RPC server, or not run at all but estimated.
        processor: its cores (of a GPU: of its host); None where the runtime needs to know nothing.
        cuda_arch: of a GPU, e.g. `sm_86`.
        remote: how it is reached, with `access` rpc.
        precisions: what it computes in natively; others are refused, never computed in float32 unsaid.
        known_error: of an estimate: its median relative error where a clock could judge it.
        known_ratio_error: the same of its ratio to the anchor's estimate; None takes `known_error`.
        about: one line for `nas targets`.
    """

    name: str = "cpu"
    runtime: Runtime = "onnxruntime"
    n_threads: int = 1
    device: Device = "cpu"
    access: Access = "local"
    processor: Processor | None = None
    cuda_arch: str = ""
    remote: Remote | None = None
    precisions: tuple[str, ...] = ("float32", "int8")
    known_error: float | None = None
    known_ratio_error: float | None = None
    about: str = ""

    @property
    def label(self) -> str:
        """One word for tables and the ledger, e.g. `cpu-1t`, `pi4-4t`, `pi4-4t-emulated`."""
        emulated = self.remote is not None and self.remote.emulated
        return f"{self.name}-{self.n_threads}t{'-emulated' if emulated else ''}"
