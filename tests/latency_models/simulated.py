"""A device whose kernels take as long as they are told to, on a clock of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from latency_models.artifact import Artifact
from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from latency_models.latency import Latency, Visit
from latency_models.predict.kernels import Kernel, network_of
from latency_models.target import Target
from latency_models.timing import Plan, latency_from_visits, visit

PLAN = Plan(n_pairs=16)


@dataclass
class Device:
    """Seconds pass only while it runs something.

    Attributes:
        now_s: its clock.
        slower: of kernels of an operator, by what factor.
        noise: relative deviation of single inferences.
    """

    now_s: float = 0.0
    slower: dict[str, float] = field(default_factory=dict)
    noise: float = 0.002
    generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def __call__(self) -> float:
        return self.now_s

    def kernel_s(self, kernel: Kernel) -> float:
        """5 microseconds a call and 1 for 20,000 multiply-accumulates."""
        return (5e-6 + 5e-11 * kernel.n_macs) * self.slower.get(kernel.operator, 1.0)


@dataclass(frozen=True)
class Loaded:
    """An artifact on the device."""

    device: Device
    kernels: tuple[Kernel, ...]

    def run(self) -> None:
        exact = 1e-3 + sum(map(self.device.kernel_s, self.kernels))
        self.device.now_s += exact * float(np.exp(self.device.noise * self.device.generator.standard_normal()))


@dataclass
class Simulated:
    """Stands where `Measured` does; `asked` holds the artifacts of all visits."""

    device: Device
    anchor: Artifact
    asked: list[Artifact] = field(default_factory=list)
    closed: bool = False

    @property
    def target(self) -> Target:
        return Target("simulated")

    def visits(self, artifacts: Mapping[str, Artifact], plan: Plan | None = None) -> dict[str, Visit]:
        self.asked += artifacts.values()
        runners = {name: self._loaded(one) for name, one in artifacts.items()}
        return visit(runners, self._loaded(self.anchor), plan or PLAN, self.device)

    def latency(self, artifact: Artifact, earlier: tuple[Visit, ...] = (), anchor_s: float | None = None) -> Latency:
        return self.latency_from((*earlier, self.visits({"it": artifact})["it"]), anchor_s)

    def latency_from(self, visits: Sequence[Visit], anchor_s: float | None = None) -> Latency:
        generator = np.random.default_rng(len(visits))
        return latency_from_visits(visits, self.target.label, self.environment(), generator, anchor_s)

    def kernels(self, artifact: Artifact) -> list[KernelTime]:
        return [
            KernelTime(f"k{i}", one.operator, self.device.kernel_s(one), n_in=one.n_in, n_out=one.n_out,
                       groups=one.groups, shape=(1, one.n_out, *one.size))
            for i, one in enumerate(network_of(artifact).kernels)
        ]  # fmt: skip

    def refusal(self, precision: str) -> str | None:
        return None if precision in ("float32", "int8") else f"no {precision} here"

    def environment(self) -> dict[str, str]:
        return {"processor": "simulated"}

    def close(self) -> None:
        self.closed = True

    def _loaded(self, artifact: Artifact) -> Loaded:
        if not artifact.path.is_file():
            raise LatencyError(f"{artifact.path} cannot be read.", "Export it again.")
        return Loaded(self.device, network_of(artifact).kernels)


def chain(path: Path, widths: Sequence[int], n_pools: int = 0, seed: int = 0) -> Artifact:
    """Convolutions with ReLUs, one for each width, pools that keep the size, a mean over the map, a linear layer."""
    generator = np.random.default_rng(seed)
    nodes, constants, x, n_in = [], {}, "x", 3
    for i, width in enumerate(widths):
        constants[f"w{i}"] = generator.standard_normal((width, n_in, 3, 3)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        x, n_in = f"r{i}", width
    for i in range(n_pools):
        nodes.append(helper.make_node("MaxPool", [x], [f"p{i}"], kernel_shape=[3, 3], pads=[1] * 4))
        x = f"p{i}"
    constants["w"] = generator.standard_normal((n_in, 10)).astype(np.float32)
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["m"]))
    nodes.append(helper.make_node("Flatten", ["m"], ["f"]))
    nodes.append(helper.make_node("Gemm", ["f", "w"], ["y"]))
    values = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10]),
    ]
    arrays = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "chain", values[:1], values[1:], arrays)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return Artifact.from_file(path, "float32")
