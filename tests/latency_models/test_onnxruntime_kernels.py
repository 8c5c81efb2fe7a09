"""Kernels of tiny networks as ONNX Runtime's profiler and graphs show them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latency_models import onnxruntime_backend
from latency_models.artifact import Artifact
from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from latency_models.onnxruntime_kernels import ProfilerCost, parse_trace, profiler_cost
from latency_models.target import Target
from latency_models.timing import Plan, samples_s
from tests.latency_models.contract import FEED, two_input_network

FLOAT = TensorProto.FLOAT


def saved(path: Path, nodes: Sequence[onnx.NodeProto], weights: dict[str, np.ndarray], n_in: int) -> Artifact:
    x = helper.make_tensor_value_info("x", FLOAT, ["n", n_in, 8, 8])
    y = helper.make_tensor_value_info("y", FLOAT, None)
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "network", [x], [y], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return Artifact.from_file(path, "float32")


def weight(*shape: int) -> np.ndarray:
    return np.full(shape, 0.01, np.float32)


def convolutions(path: Path, width: int = 24) -> Artifact:
    """Conv, Relu, depthwise Conv and global pooling, named as torch's exporter does."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["/a/conv1/Conv_output_0"], "/a/conv1/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["/a/conv1/Conv_output_0"], ["/a/relu/Relu_output_0"], "/a/relu/Relu"),
        helper.make_node(
            "Conv", ["/a/relu/Relu_output_0", "w2"], ["/a/dw/Conv_output_0"], "/a/dw/Conv",
            pads=[1, 1, 1, 1], group=width,
        ),
        helper.make_node("GlobalAveragePool", ["/a/dw/Conv_output_0"], ["y"], "/pool/GlobalAveragePool"),
    ]  # fmt: skip
    return saved(path, nodes, {"w1": weight(width, 16, 3, 3), "w2": weight(width, 1, 3, 3)}, 16)


def kernels_of(artifact: Artifact, n_in: int) -> list[KernelTime]:
    return onnxruntime_backend.kernels(artifact, Target(), {"x": np.ones((1, n_in, 8, 8), np.float32)})


def test_fused_layers_keep_their_names_widths_and_work(tmp_path: Path) -> None:
    found = {kernel.name: kernel for kernel in kernels_of(convolutions(tmp_path / "n.onnx"), 16)}
    conv = found["a.conv1"]
    assert (conv.operator, conv.n_in, conv.n_out, conv.groups, conv.shape) == ("Conv", 16, 24, 1, (1, 24, 8, 8))
    assert conv.n_flops == 2 * 24 * 64 * 16 * 9
    depthwise = found["a.dw"]
    assert (depthwise.n_in, depthwise.n_out, depthwise.groups) == (24, 24, 24)
    assert depthwise.n_flops == 2 * 24 * 64 * 9
    assert found["pool"].operator == "GlobalAveragePool"
    assert found["pool"].shape == (1, 24, 1, 1)
    assert "a.relu" not in found
    assert all(kernel.precision == "float32" for kernel in found.values())
    assert conv.seconds > 0
    assert conv.n_bytes >= 4 * (16 * 64 + 24 * 64 + 24 * 16 * 9)


def test_names_are_unique_and_in_order_of_execution(tmp_path: Path) -> None:
    names = [kernel.name for kernel in kernels_of(convolutions(tmp_path / "n.onnx"), 16)]
    assert len(set(names)) == len(names)
    assert names.index("a.conv1") < names.index("a.dw") < names.index("pool")


def test_layout_conversions_are_called_reorder(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["t"], "/conv/Conv"),
        helper.make_node("Softmax", ["t"], ["y"], "/softmax/Softmax", axis=1),
    ]
    found = kernels_of(saved(tmp_path / "n.onnx", nodes, {"w1": weight(32, 16, 1, 1)}, 16), 16)
    assert {kernel.operator for kernel in found if kernel.name.startswith("Reorder")} == {"Reorder"}
    assert [kernel.operator for kernel in found if kernel.operator != "Reorder"] == ["Conv", "Softmax"]


def test_nameless_nodes_and_matrix_products(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head.weight"], ["z"], transB=1),
        helper.make_node("Gemm", ["z", "tail"], ["y"]),
    ]
    artifact = saved(tmp_path / "n.onnx", nodes, {"head.weight": weight(5, 128), "tail": weight(5, 3)}, 2)
    head, tail = (kernel for kernel in kernels_of(artifact, 2) if kernel.operator == "Gemm")
    assert (head.name, head.n_in, head.n_out, head.n_flops) == ("head", 128, 5, 2 * 128 * 5)
    assert (tail.n_in, tail.n_out, tail.n_flops) == (5, 3, 2 * 5 * 3)


def test_int8_kernels_are_named_by_their_outputs(tmp_path: Path) -> None:
    def quantised(name: str, zero_point: str = "zero") -> list[onnx.NodeProto]:
        return [
            helper.make_node("QuantizeLinear", [name, "s", zero_point], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", "s", zero_point], [f"{name}_d"]),
        ]

    nodes = [
        *quantised("x"),
        helper.make_node("DequantizeLinear", ["conv.weight_quantized", "s", "signed"], ["w"]),
        helper.make_node("Conv", ["x_d", "w"], ["/conv/Conv_output_0"], "Conv_0"),
        *quantised("/conv/Conv_output_0"),
        helper.make_node("GlobalAveragePool", ["/conv/Conv_output_0_d"], ["y"]),
    ]
    weights = {
        "conv.weight_quantized": np.ones((8, 4, 1, 1), np.int8),
        "s": np.array(0.1, np.float32),
        "zero": np.array(128, np.uint8),
        "signed": np.array(0, np.int8),
    }
    found = kernels_of(saved(tmp_path / "n.onnx", nodes, weights, 4), 4)
    (conv,) = [kernel for kernel in found if kernel.operator == "Conv"]
    assert (conv.name, conv.precision, conv.n_in, conv.n_out) == ("conv", "int8", 4, 8)
    assert conv.n_flops == 2 * 8 * 64 * 4
    assert "QuantizeLinear" in {kernel.operator for kernel in found}


def test_int8_concatenations_and_pools_keep_their_widths(tmp_path: Path) -> None:
    """All tensors have the same scale, whose name says nothing then, and the runtime puts channels last."""

    def quantised(name: str) -> list[onnx.NodeProto]:
        ends = ["s", f"{name}_zero_point"]
        return [
            helper.make_node("QuantizeLinear", [name, *ends], [f"{name}_QuantizeLinear_Output"]),
            helper.make_node("DequantizeLinear", [f"{name}_QuantizeLinear_Output", *ends], [f"{name}_d"]),
        ]

    def convolution(name: str, source: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("DequantizeLinear", [f"{name}.weight", "s", "signed"], [f"{name}_w"]),
            helper.make_node("Conv", [f"{source}_d", f"{name}_w"], [name]),
            *quantised(name),
        ]

    nodes = [
        *quantised("x"), *convolution("a", "x"), *convolution("b", "a"),
        helper.make_node("Concat", ["a_d", "b_d"], ["c"], axis=1), *quantised("c"),
        helper.make_node("MaxPool", ["c_d"], ["p"], kernel_shape=[2, 2], strides=[2, 2]), *quantised("p"),
        *convolution("d", "p"), helper.make_node("GlobalAveragePool", ["d_d"], ["y"]),
    ]  # fmt: skip
    weights = {"s": np.array(0.1, np.float32), "signed": np.array(0, np.int8)}
    weights |= {f"{name}_zero_point": np.array(i, np.uint8) for i, name in enumerate("xabcpd")}
    weights |= {f"{n}.weight": np.ones((o, i, 1, 1), np.int8) for n, o, i in (("a", 8, 4), ("b", 12, 8), ("d", 4, 20))}
    found = kernels_of(saved(tmp_path / "n.onnx", nodes, weights, 4), 4)
    widths = {one.operator: (one.n_out, one.shape) for one in found if one.operator in ("Concat", "MaxPool")}
    assert widths == {"Concat": (20, (1, 20, 8, 8)), "MaxPool": (20, (1, 20, 4, 4))}


def test_kernels_add_up_to_about_the_latency(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w1"], ["y"], "/conv/Conv", pads=[1, 1, 1, 1])]
    artifact = saved(tmp_path / "n.onnx", nodes, {"w1": weight(256, 256, 3, 3)}, 256)
    feed = {"x": np.ones((1, 256, 8, 8), np.float32)}
    together_s = sum(kernel.seconds for kernel in onnxruntime_backend.kernels(artifact, Target(), feed))
    latency_s = float(np.median(samples_s(onnxruntime_backend.load(artifact, Target(), feed), Plan())))
    assert 0.5 < together_s / latency_s < 2


def test_a_feed_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    artifact = two_input_network(tmp_path / "n.onnx")
    assert onnxruntime_backend.kernels(artifact, Target(), FEED)
    with pytest.raises(LatencyError, match="one array for each input"):
        onnxruntime_backend.kernels(artifact, Target(), {})


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = two_input_network(tmp_path / "n.onnx")
    before = sorted(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    onnxruntime_backend.kernels(artifact, Target(), FEED)
    assert sorted(tmp_path.iterdir()) == before


def test_the_profilers_own_cost_is_microseconds_and_grows_with_the_inputs() -> None:
    assert 0 <= profiler_cost(lambda: onnxruntime_backend._options(Target())).one_input_s < 1e-3
    assert [ProfilerCost(3e-6, 7e-6).of(n) for n in (1, 3, 9)] == pytest.approx([3e-6, 4e-6, 7e-6])


def event(name: str, ts: int, dur: int) -> dict[str, object]:
    args = {"op_name": name, "input_type_shape": [{"float": [1, 2]}], "output_type_shape": [{"float": [1, 3]}],
            "activation_size": "8", "output_size": "12"}  # fmt: skip
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": args}


def test_a_trace_is_read_without_warm_up_and_what_a_loop_holds() -> None:
    runs = [[event("Loop", 100 * n, 50), event("Inner", 100 * n + 10, 20), event("Add", 100 * n + 60, 10 + n)]
            for n in range(9)]  # fmt: skip
    kernels, seconds = parse_trace([one for run in runs for one in run], n_warm_up=1)
    assert [kernel.name for kernel in kernels] == ["Loop", "Add"]
    assert seconds == pytest.approx((50e-6, 14.5e-6))
    assert kernels[1].inputs == (("float", (1, 2)),)
    assert (kernels[1].activation_bytes, kernels[1].output_bytes) == (8, 12)
