"""What this machine can do at most, measured: operations a second by precision, bytes a second by level of memory.

They are the roofline of Williams, Waterman and Patterson 2009 ("Roofline: an insightful visual performance model for
multicore architectures"), taken with the software at hand: matrix products and convolutions of ONNX Runtime, and dot
products of numpy over arrays that fill one level of memory. A better compiler might reach more.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latency_models.host import host_processor
from latency_models.onnxruntime_backend import DTYPES, environment
from latency_models.target import Target
from latency_models.timing import Plan, samples_s

PLAN = Plan(n_pairs=24, n_block=2, max_s=0.08, warm_up_max_s=0.05)
"""For one figure; the fastest sample counts, as what interferes only ever slows."""
MATRIX_SIZES = (192, 384)
CONV_CHANNELS, CONV_SIZE = 64, 28
CHUNK = 4096
"""Elements of one dot product: few enough that no BLAS shares it among threads."""
SWEEP_BYTES = 32 * 2**20
"""Read in one sample, in as many rounds as it takes."""
ASSUMED_CACHES = (32 * 2**10, 512 * 2**10, 8 * 2**20)
"""Where the operating system does not tell the caches' sizes."""
MIN_MEMORY_BYTES, MAX_MEMORY_BYTES = 64 * 2**20, 256 * 2**20


@dataclass(frozen=True)
class Level:
    """One level of memory.

    Attributes:
        name: `L1`, `L2`, ..., or `memory`.
        size_bytes: that one core sees of it; 0 for the memory.
        bytes_per_s: read by all threads together.
    """

    name: str
    size_bytes: int
    bytes_per_s: float


@dataclass(frozen=True)
class Ceilings:
    """A machine's roofline.

    Attributes:
        n_threads: that computed and read.
        flops_per_s: operations a second by precision (two for a multiply-accumulate); what could not be measured is
            left out.
        levels: innermost first, the memory last.
    """

    n_threads: int
    flops_per_s: dict[str, float]
    levels: tuple[Level, ...]

    def level(self, n_bytes: int) -> Level:
        """The innermost level that holds so many bytes."""
        return next((one for one in self.levels if n_bytes <= one.size_bytes), self.levels[-1])

    def least_s(self, n_flops: int, n_bytes: int, precision: str) -> tuple[float, str] | None:
        """Seconds below which nobody can do this much work, and whether `compute` or `memory` is what limits it.

        None for a precision without a ceiling. The bytes are taken to lie in the innermost level that holds them.
        """
        peak = self.flops_per_s.get(precision)
        if peak is None:
            return None
        compute_s, memory_s = n_flops / peak, n_bytes / self.level(n_bytes).bytes_per_s
        return (compute_s, "compute") if compute_s >= memory_s else (memory_s, "memory")


def ceilings(folder: Path, n_threads: int, fresh: bool = False) -> Ceilings:
    """This machine's ceilings, kept in a folder from one call to the next; measuring takes about a second.

    Args:
        folder: for the JSON file; made where missing.
        n_threads: that compute and read at once.
        fresh: measure again.
    """
    told = environment(Target(n_threads=n_threads))
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
    path = folder / f"ceilings-{digest}.json"
    kept = None if fresh else _read(path)
    if kept is not None:
        return kept
    found = measure_ceilings(n_threads)
    folder.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps({**asdict(found), "environment": told}, indent=2))
    beside.replace(path)
    return found


def measure_ceilings(n_threads: int) -> Ceilings:
    """Measures; nothing else should run meanwhile."""
    flops: dict[str, float] = {}
    for precision, n_flops, model in _works():
        best_s = min(samples_s(_session(model, n_threads), PLAN))
        flops[precision] = max(flops.get(precision, 0.0), n_flops / best_s)
    caches = host_processor().cache_bytes or ASSUMED_CACHES
    # Half of a cache: the other half is for all else that the core keeps there. The threads share the outermost one.
    sizes = [(f"L{n}", size, size // 2) for n, size in enumerate(caches[:-1], 1)]
    sizes.append((f"L{len(caches)}", caches[-1], caches[-1] // 2 // n_threads))
    sizes.append(("memory", 0, max(MIN_MEMORY_BYTES, min(MAX_MEMORY_BYTES, 4 * caches[-1])) // n_threads))
    levels = [Level(name, size, _bytes_per_s(used, n_threads)) for name, size, used in sizes]
    return Ceilings(n_threads, flops, tuple(_never_faster_outside(levels)))


@dataclass(frozen=True)
class _Products:
    """Matrix product or convolution in ONNX Runtime."""

    session: ort.InferenceSession
    binding: ort.IOBinding

    def run(self) -> None:
        self.session.run_with_iobinding(self.binding)


@dataclass(frozen=True)
class _Reads:
    """Dot products that read two arrays, again and again; each thread has its own."""

    arrays: tuple[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]], ...]
    pool: ThreadPoolExecutor | None

    def run(self) -> None:
        if self.pool is None:
            for a, b, out in self.arrays:
                np.vecdot(a, b, out=out)
        else:
            list(self.pool.map(lambda three: np.vecdot(three[0], three[1], out=three[2]), self.arrays))


def _bytes_per_s(used: int, n_threads: int) -> float:
    """Read by all threads together, each from two arrays that are `used` bytes together."""
    n_rows = max(1, used // (2 * 4 * CHUNK))
    chunk = min(CHUNK, used // 8)
    n_rounds = max(1, SWEEP_BYTES // (8 * n_rows * chunk))

    def arrays() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        a, b = (np.ones((n_rows, chunk), np.float32) for _ in range(2))
        shape = (n_rounds, n_rows, chunk)
        views = [np.lib.stride_tricks.as_strided(one, shape, (0, *one.strides), writeable=False) for one in (a, b)]
        return views[0], views[1], np.empty(shape[:2], np.float32)

    some = tuple(arrays() for _ in range(n_threads))
    if n_threads == 1:
        best_s = min(samples_s(_Reads(some, None), PLAN))
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            best_s = min(samples_s(_Reads(some, pool), PLAN))
    return n_threads * n_rounds * n_rows * chunk * 8 / best_s


def _never_faster_outside(levels: list[Level]) -> Iterator[Level]:
    """A level is at least as fast as the ones outside it: what says otherwise is noise or the calls' own time."""
    for n, level in enumerate(levels):
        yield replace(level, bytes_per_s=max(one.bytes_per_s for one in levels[n:]))


def _works() -> Iterator[tuple[str, int, onnx.ModelProto]]:
    """Precision, operations and model of what is known to run fast."""
    for size in MATRIX_SIZES:
        weights = np.full((size, size), 0.01, np.float32)
        nodes = [helper.make_node("MatMul", ["x", "weights"], ["y"])]
        yield "float32", 2 * size**3, _model(nodes, (size, size), {"weights": weights})
        whole = np.ones((size, size), np.int8)
        nodes = [helper.make_node("MatMulInteger", ["x", "weights"], ["y"])]
        kinds = (TensorProto.UINT8, TensorProto.INT32)
        yield "int8", 2 * size**3, _model(nodes, (size, size), {"weights": whole}, kinds)
    n, size = CONV_CHANNELS, CONV_SIZE
    kernel = np.full((n, n, 3, 3), 0.01, np.float32)
    nodes = [helper.make_node("Conv", ["x", "weights"], ["y"], pads=[1, 1, 1, 1])]
    yield "float32", 2 * 9 * n * n * size * size, _model(nodes, (1, n, size, size), {"weights": kernel})


def _model(
    nodes: list[onnx.NodeProto],
    shape: tuple[int, ...],
    weights: dict[str, NDArray[np.generic]],
    kinds: tuple[int, int] = (TensorProto.FLOAT, TensorProto.FLOAT),
) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, kind, shape) for name, kind in zip("xy", kinds, strict=True))
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "work", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _session(model: onnx.ModelProto, n_threads: int) -> _Products:
    options = ort.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0]
    x = np.ones(taken.shape, DTYPES[taken.type])
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x))
    binding.bind_output("y")
    return _Products(session, binding)


def _read(path: Path) -> Ceilings | None:
    """What lies there, None where that is nothing or damaged: it is then measured again."""
    try:
        kept = json.loads(path.read_text())
        levels = tuple(
            Level(str(one["name"]), int(one["size_bytes"]), float(one["bytes_per_s"])) for one in kept["levels"]
        )
        flops = {str(name): float(value) for name, value in kept["flops_per_s"].items()}
        n_threads = int(kept["n_threads"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    figures = [*flops.values(), *(one.bytes_per_s for one in levels)]
    sound = bool(levels) and all(math.isfinite(value) and value > 0 for value in figures)
    return Ceilings(n_threads, flops, levels) if sound else None
