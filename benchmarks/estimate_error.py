"""How far estimates are from the clock: students of two teachers, compiled as AVX2 code for this machine.

Each student is estimated from its executed instructions (`latency_models.estimate`), with LLVM's model of this
machine's core, and the very same compiled kernels are timed here by TVM's time_evaluator, one thread: the least of many
short batches, spread over passes in changing order. The clock rate is measured, not assumed. One factor, the median of
measured / estimated over students of a third teacher, is applied to all estimates; nothing else is fitted, and nothing
on the students that are judged. Prints `spearman=`, `median_error=`, `n_students=` last. Needs an Intel machine with
AVX2; about 15 minutes.
"""

import argparse
import ctypes
import random
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tvm
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.stats import spearmanr
from tvm import relax

from latency_models import estimate
from latency_models.artifact import Artifact
from latency_models.estimate.network_time import CALL_CYCLES
from latency_models.host import host_processor
from latency_models.target import Processor, Target
from latency_models.tvm_backend.build import compile_network

TEACHERS = ("resnet20", "mobilenetv2", "plain")
CALIBRATION = "plain"
BYTES_PER_CYCLE = (64.0, 32.0, 10.0, 4.5)
"""Of the three caches and the memory of a Sapphire Rapids, read by one core in a row with 32-byte loads; measured on
the machine that this was written on (65, 31 to 36, 9 to 10, 4.5)."""

CHAINS = (5, 45)
"""Lengths of the chains of tiny kernels that show what a call costs."""

MULTIPLY_NS = r"""
#include <stdint.h>
#include <time.h>
double multiply_ns(void) {
  struct timespec a, b;
  uint64_t z = 3;
  clock_gettime(CLOCK_MONOTONIC, &a);
  for (int i = 0; i < 20000; i++)
    __asm__ volatile("imul %0,%0\n imul %0,%0\n imul %0,%0\n imul %0,%0\n imul %0,%0\n imul %0,%0\n imul %0,%0\n"
                     "imul %0,%0\n" : "+r"(z));
  clock_gettime(CLOCK_MONOTONIC, &b);
  return ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / 160000;
}
"""
MULTIPLY_CYCLES = 3
"""Latency of a 64-bit multiplication on every Intel core since Nehalem (additions of constants may take none)."""


@dataclass
class Network:
    """An ONNX graph in the making; `x` is its input of shape (1, 3, size, size)."""

    size: int
    generator: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, array: NDArray[Any]) -> str:
        """Adds a float32 constant and returns its name."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds an operator and returns the name of its output."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def conv(self, x: str, n_in: int, n_out: int, kernel: int, stride: int, groups: int, activation: str) -> str:
        """A convolution with bias, then `Relu`, `Clip` (ReLU6) or nothing."""
        shape = (n_out, n_in // groups, kernel, kernel)
        weight = self.generator.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        names = x, self.constant(weight), self.constant(np.zeros(n_out))
        y = self.node(
            "Conv", *names, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups
        )
        if activation == "Clip":
            return self.node("Clip", y, self.constant(np.array(0.0)), self.constant(np.array(6.0)))
        return self.node(activation, y) if activation else y

    def finished(self, x: str, n_in: int) -> onnx.ModelProto:
        """The model, with global pooling and ten classes at its end."""
        flat = self.node("Flatten", self.node("GlobalAveragePool", x))
        weight = self.constant(self.generator.normal(0, 0.1, (n_in, 10)))
        y = self.node("Gemm", flat, weight, self.constant(np.zeros(10)))
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, self.size, self.size])
        result = helper.make_tensor_value_info(y, TensorProto.FLOAT, [1, 10])
        graph = helper.make_graph(self.nodes, "student", [given], [result], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


Width = Callable[[int], int]
"""Channels of the teacher to channels of a student, drawn anew at each call."""


def resnet20(net: Network, width: Width) -> onnx.ModelProto:
    """Three stages of three residual blocks; stage and inner widths drawn."""
    n_in = width(16)
    x = net.conv("x", 3, n_in, 3, 1, 1, "Relu")
    for stage, full in enumerate((16, 32, 64)):
        n_out = width(full) if stage else n_in
        for block in range(3):
            stride, inner = 2 if stage and not block else 1, width(full)
            y = net.conv(net.conv(x, n_in, inner, 3, stride, 1, "Relu"), inner, n_out, 3, 1, 1, "")
            shortcut = x if n_in == n_out and stride == 1 else net.conv(x, n_in, n_out, 1, stride, 1, "")
            x, n_in = net.node("Relu", net.node("Add", y, shortcut)), n_out
    return net.finished(x, n_in)


def mobilenetv2(net: Network, width: Width) -> onnx.ModelProto:
    """Inverted residuals with depthwise convolutions; outer and expanded widths drawn."""
    n_in = width(16)
    x = net.conv("x", 3, n_in, 3, 2, 1, "Clip")
    for full, n_blocks, first in ((24, 2, 2), (32, 3, 2), (64, 3, 2), (96, 2, 1)):
        n_out = width(full)
        for block in range(n_blocks):
            stride, inner = first if not block else 1, width(6 * full)
            y = net.conv(x, n_in, inner, 1, 1, 1, "Clip")
            y = net.conv(y, inner, inner, 3, stride, inner, "Clip")
            y = net.conv(y, inner, n_out, 1, 1, 1, "")
            x, n_in = net.node("Add", x, y) if n_in == n_out and stride == 1 else y, n_out
    last = width(256)
    return net.finished(net.conv(x, n_in, last, 1, 1, 1, "Clip"), last)


def plain(net: Network, width: Width) -> onnx.ModelProto:
    """Convolutions of 3x3 and 1x1 in turn, one depthwise to a stage: the teacher of the common factor."""
    x, n_in = "x", 3
    for full, stride in ((24, 1), (48, 2), (96, 2), (192, 2)):
        n_out = width(full)
        x = net.conv(x, n_in, n_out, 3, stride, 1, "Relu")
        x = net.conv(x, n_out, n_out, 3, 1, n_out, "Relu")
        n_in = width(full)
        x = net.conv(x, n_out, n_in, 1, 1, 1, "Relu")
    return net.finished(x, n_in)


def chain(length: int) -> onnx.ModelProto:
    """1x1 convolutions of 8 channels on a map of 8 x 8."""
    net, x = Network(8, np.random.default_rng(0)), "x"
    for number in range(length):
        x = net.conv(x, 8 if number else 3, 8, 1, 1, 1, "Relu")
    return net.finished(x, 8)


BUILD = {"resnet20": resnet20, "mobilenetv2": mobilenetv2, "plain": plain}


def full(teacher: str) -> onnx.ModelProto:
    """The teacher itself."""
    return BUILD[teacher](_network(teacher, 0), lambda width: width)


def _network(teacher: str, seed: int) -> Network:
    return Network(64 if teacher == "mobilenetv2" else 32, np.random.default_rng(seed))


def student(teacher: str, seed: int) -> onnx.ModelProto:
    """A student whose every width is drawn around a share of the teacher's that is itself drawn, 0.3 to 1.3."""
    draw = random.Random(f"{teacher} {seed}")
    share = 0.3 * (1.3 / 0.3) ** draw.random()
    net = _network(teacher, seed)
    return BUILD[teacher](net, lambda width: max(4, round(width * share * draw.uniform(0.75, 1.25) / 4) * 4))


@dataclass(frozen=True)
class Subject:
    """A network, its estimate at one cycle a second, and what runs it."""

    teacher: str
    cycles: float
    run_s: Callable[[], float]


def processor() -> Processor:
    """This machine as an AVX2 machine; one cycle a second, as the clock's rate is measured later."""
    here = host_processor()
    n_caches = min(3, len(here.cache_bytes))
    return Processor(
        triple="x86_64-linux-gnu", cpu="haswell", vector_bits=256, n_vector_registers=16, clock_hz=1.0,
        machine_model="sapphirerapids", cache_bytes=here.cache_bytes[:n_caches],
        cache_bytes_per_cycle=BYTES_PER_CYCLE[: n_caches + 1],
    )  # fmt: skip


def subject(teacher: str, network: onnx.ModelProto, target: Target, folder: Path) -> Subject:
    """Estimates a network and compiles it to run here."""
    path = folder / "network.onnx"
    path.write_bytes(network.SerializeToString())
    artifact = Artifact.from_file(path, "float32")
    shape = [dim.dim_value for dim in network.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    times = estimate.estimate(artifact, target, {"x": x})
    compiled = compile_network(artifact, target, {"x": x.shape})
    machine = relax.VirtualMachine(compiled.module, tvm.cpu())
    evaluate = machine.time_evaluator("main", tvm.cpu(), number=3, repeat=5)
    given = tvm.runtime.tensor(x)
    cycles = sum(one.seconds for one in times)
    print(f"{teacher}: {cycles / 1e6:.3f} million cycles estimated", flush=True)
    return Subject(teacher, cycles, lambda: min(evaluate(given).results))


def clock(folder: Path) -> Callable[[], float]:
    """A function that measures the clock's rate, in cycles per second."""
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(MULTIPLY_NS)
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", source, "-o", library], check=True, timeout=60)
    multiply_ns = ctypes.CDLL(str(library)).multiply_ns
    multiply_ns.restype = ctypes.c_double
    return lambda: MULTIPLY_CYCLES / (1e-9 * multiply_ns())


def timed(subjects: Sequence[Subject], n_passes: int, rate: Callable[[], float]) -> tuple[NDArray[np.float64], float]:
    """Least seconds of each student, and the highest rate of the clock seen beside them."""
    least, hz = np.full(len(subjects), np.inf), 0.0
    order = list(range(len(subjects)))
    for _ in range(n_passes):
        random.Random(len(order)).shuffle(order)
        for i in order:
            hz = max(hz, rate())
            least[i] = min(least[i], subjects[i].run_s())
    return least, hz


def _ratio_errors(
    estimated: NDArray[np.float64], measured: NDArray[np.float64], kinds: NDArray[np.str_], teacher: str
) -> NDArray[np.float64]:
    """Relative errors of the students' estimated ratios to their teacher."""
    of_students, of_teacher = kinds == teacher, kinds == f"{teacher} itself"
    errors: NDArray[np.float64] = np.abs(
        (estimated[of_students] / estimated[of_teacher]) / (measured[of_students] / measured[of_teacher]) - 1
    )
    return errors


def main() -> None:
    """Estimates, times, compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=30, help="of each of the two teachers that are judged")
    parser.add_argument("--calibration", type=int, default=12, help="students of the third teacher")
    parser.add_argument("--passes", type=int, default=60)
    given = parser.parse_args()
    target = Target(name="this-machine-avx2", runtime="tvm", access="estimate", processor=processor())
    counts = {name: given.calibration if name == CALIBRATION else given.students for name in TEACHERS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        networks = [("chain", chain(length)) for length in CHAINS]
        networks += [(f"{one} itself", full(one)) for one in TEACHERS if one != CALIBRATION]
        networks += [(one, student(one, seed)) for one in TEACHERS for seed in range(counts[one])]
        subjects = [subject(kind, network, target, folder) for kind, network in networks]
        measured, hz = timed(subjects, given.passes, clock(folder))
    estimated = np.array([each.cycles for each in subjects]) / hz
    kinds = np.array([each.teacher for each in subjects])
    factor = float(np.median((measured / estimated)[kinds == CALIBRATION]))
    print(f"clock {hz / 1e9:.3f} GHz; factor {factor:.3f} from {given.calibration} students of {CALIBRATION}")
    for kind in TEACHERS:
        ratios = np.sort((estimated * factor / measured)[kinds == kind])
        span = measured[kinds == kind] * 1e3
        print(
            f"{kind}: {span.min():.3f} to {span.max():.3f} ms, estimated / measured median {np.median(ratios):.3f}, "
            f"from {ratios[0]:.3f} to {ratios[-1]:.3f}, spearman {spearmanr(estimated[kinds == kind], span)[0]:.4f}"
        )
    (near, far), n_calls = np.flatnonzero(kinds == "chain"), CHAINS[1] - CHAINS[0]
    excess = ((measured - estimated)[far] - (measured - estimated)[near]) * hz / n_calls
    print(f"call_cycles={CALL_CYCLES + excess:.0f}")
    judged = np.isin(kinds, [one for one in TEACHERS if one != CALIBRATION])
    ratio_errors = np.concatenate(
        [_ratio_errors(estimated, measured, kinds, one) for one in TEACHERS if one != CALIBRATION]
    )
    errors = np.abs(estimated * factor / measured - 1)[judged]
    unscaled = np.abs(estimated / measured - 1)[judged]
    print(f"median_error_without_factor={np.median(unscaled):.4f}")
    print(f"median_ratio_error={np.median(ratio_errors):.4f}")
    print(f"worst_error={errors.max():.4f}")
    print(f"spearman={spearmanr(estimated[judged], measured[judged])[0]:.4f}")
    print(f"median_error={np.median(errors):.4f}")
    print(f"n_students={judged.sum()}")


if __name__ == "__main__":
    main()
