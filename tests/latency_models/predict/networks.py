"""Small ONNX graphs, and networks with latencies that follow a rule."""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latency_models.predict.features import Table, table_of, totals
from latency_models.predict.kernels import Network, network_of


def model(
    nodes: Sequence[onnx.NodeProto], constants: dict[str, NDArray[np.generic]], channels: int = 3
) -> onnx.ModelProto:
    """From `x` of shape (n, channels, 8, 8) to `y`."""
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", channels, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def weight(*shape: int) -> NDArray[np.generic]:
    return np.ones(shape, np.float32)


def chain(widths: Sequence[int], window: int = 3) -> Network:
    """Convolutions with ReLUs, one for each width, then a mean over the map and a linear layer."""
    nodes, constants, x, n_in = [], {}, "x", 3
    for i, width in enumerate(widths):
        constants[f"w{i}"] = weight(width, n_in, window, window)
        nodes.append(helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], pads=[window // 2] * 4))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        x, n_in = f"r{i}", width
    constants["w"] = weight(n_in, 10)
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["m"]))
    nodes.append(helper.make_node("Flatten", ["m"], ["f"]))
    nodes.append(helper.make_node("Gemm", ["f", "w"], ["y"]))
    return network_of(model(nodes, constants))


def drawn(n: int, seed: int = 0) -> list[Network]:
    """Chains of one to four layers with 4 to 40 channels."""
    generator = np.random.default_rng(seed)
    return [chain(generator.integers(4, 41, generator.integers(1, 5)).tolist()) for _ in range(n)]


def seconds_of(table: Table, noise: float = 0.0, seed: int = 0) -> NDArray[np.float64]:
    """20 microseconds, 5 for each kernel, 1 for 100,000 MACs on steps of 16, 1 for 100,000 elements; and noise."""
    sums = totals(table)
    exact = 20e-6 + 5e-6 * sums[:, 0] + 1e-11 * sums[:, 1] + 1e-11 * sums[:, 2]
    result: NDArray[np.float64] = exact * np.exp(noise * np.random.default_rng(seed).standard_normal(len(exact)))
    return result


def table(n: int, seed: int = 0) -> Table:
    return table_of(drawn(n, seed))
