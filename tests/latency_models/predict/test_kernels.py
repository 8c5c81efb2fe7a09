from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from latency_models.errors import LatencyError
from latency_models.predict.kernels import Kernel, network_of
from tests.latency_models.predict.networks import chain, model, weight

node = helper.make_node


def test_a_convolution_takes_its_batch_norm_activation_and_sum_along() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", ["a", "s", "s", "s", "s"], ["b"]),
        node("Conv", ["b", "v"], ["c"], group=4),
        node("Add", ["c", "b"], ["d"]),
        node("Relu", ["d"], ["y"]),
    ]
    constants = {"w": weight(4, 3, 3, 3), "s": weight(4), "v": weight(4, 1, 1, 1)}
    first, second = network_of(model(nodes, constants)).kernels
    assert first == Kernel(
        "Conv", 3, 4, 1, (3, 3), 2, (4, 4), "float32", ("BatchNormalization",), 16 * 108, 192, 64, 108 + 4
    )
    assert second == Kernel("Conv", 4, 4, 4, (1, 1), 1, (4, 4), "float32", ("Add", "Relu"), 64, 64, 64, 4)
    assert second.n_bytes == 4 * (64 + 64 + 4)


def test_of_two_convolutions_that_are_added_the_later_one_adds() -> None:
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Conv", ["x", "v"], ["b"]), node("Add", ["a", "b"], ["y"])]
    kernels = network_of(model(nodes, {"w": weight(2, 3, 1, 1), "v": weight(2, 3, 1, 1)})).kernels
    assert [one.followers for one in kernels] == [(), ("Add",)]


def test_a_gated_activation_is_part_of_its_convolution() -> None:
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Sigmoid", ["a"], ["s"]), node("Mul", ["a", "s"], ["y"])]
    (kernel,) = network_of(model(nodes, {"w": weight(2, 3, 1, 1)})).kernels
    assert kernel.followers == ("Sigmoid", "Mul")


def test_what_two_read_is_written_to_memory() -> None:
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Relu", ["a"], ["b"]), node("Add", ["a", "b"], ["y"])]
    kernels = network_of(model(nodes, {"w": weight(2, 3, 1, 1)})).kernels
    assert [(one.operator, one.followers) for one in kernels] == [("Conv", ()), ("Relu", ("Add",))]


def test_branches_that_add_nothing_are_removed() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("Conv", ["a", "v"], ["unread"]),
        node("Conv", ["a", "v"], ["b"]),
        node("Mul", ["b", "zero"], ["nothing"]),
        node("Identity", ["a"], ["same"]),
        node("Add", ["same", "nothing"], ["sum"]),
        node("Relu", ["sum"], ["y"]),
    ]
    network = network_of(
        model(nodes, {"w": weight(3, 3, 1, 1), "v": weight(3, 3, 1, 1), "zero": np.zeros(1, np.float32)})
    )
    assert [(one.operator, one.followers) for one in network.kernels] == [("Conv", ("Relu",))]
    assert [(one.operator, one.followers) for one in network.removed] == [("Conv", ()), ("Conv", ("Mul", "Add"))]
    assert network.n_operators == 6


def test_a_sum_with_zeros_that_enlarges_its_operand_stays() -> None:
    nodes = [node("GlobalAveragePool", ["x"], ["m"]), node("Mul", ["x", "zero"], ["n"]), node("Add", ["m", "n"], ["y"])]
    network = network_of(model(nodes, {"zero": np.zeros(1, np.float32)}))
    assert [(one.operator, one.followers) for one in network.kernels] == [("GlobalAveragePool", ("Add",))]


def test_the_longest_path_is_that_of_the_slower_branch() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        node("Relu", ["a"], ["ra"]),
        node("Conv", ["ra", "w"], ["b"], pads=[1] * 4),
        node("MaxPool", ["x"], ["p"], kernel_shape=[3, 3], pads=[1] * 4),
        node("Concat", ["b", "p"], ["y"], axis=1),
    ]
    network = network_of(model(nodes, {"w": weight(3, 3, 3, 3)}))
    assert network.longest == (3, 2, 2 * 64 * 81)
    assert network.kernels[-1].n_out == 6


def test_quantised_layers_are_int8_kernels() -> None:
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("DequantizeLinear", ["w", "s", "wz"], ["dw"]),
        node("Conv", ["d", "dw"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("QuantizeLinear", ["r", "s", "z"], ["q2"]),
        node("DequantizeLinear", ["q2", "s", "z"], ["y"]),
    ]
    constants = {"s": np.float32(0.1), "z": np.uint8(3), "wz": np.int8(0), "w": np.ones((2, 3, 1, 1), np.int8)}
    kernels = network_of(model(nodes, {name: np.asarray(one) for name, one in constants.items()})).kernels
    assert [(one.operator, one.precision, one.followers) for one in kernels] == [
        ("QuantizeLinear", "float32", ()),
        ("Conv", "int8", ("Relu", "QuantizeLinear")),
        ("DequantizeLinear", "float32", ()),
    ]
    assert (kernels[1].in_elements, kernels[1].weight_elements) == (192, 6 + 2)


def test_onnx_infers_shapes_of_operators_without_a_rule() -> None:
    constants = {"o": np.array([0]), "e": np.array([4]), "a": np.array([2])}
    network = network_of(model([node("Slice", ["x", "o", "e", "a"], ["y"])], constants))
    assert network.kernels[0].size == (4, 8)


def test_a_shape_that_nothing_tells_is_refused() -> None:
    nodes = [node("Odd", ["x"], ["i"], domain="there"), node("Cast", ["i"], ["y"], to=TensorProto.FLOAT)]
    with pytest.raises(LatencyError, match="Odd"):
        network_of(model(nodes, {}).SerializeToString())


def test_files_are_read_and_others_refused(tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match="cannot be read"):
        network_of(tmp_path / "none.onnx")
    (tmp_path / "n.onnx").write_bytes(b"no model")
    with pytest.raises(LatencyError, match=r"ONNX|operators"):
        network_of(tmp_path / "n.onnx")


def test_a_chain_has_a_kernel_for_each_layer() -> None:
    assert [one.operator for one in chain([8, 16]).kernels] == ["Conv", "Conv", "GlobalAveragePool", "Gemm"]
