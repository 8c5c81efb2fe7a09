"""The layers that read a network's inputs."""

import onnx
from onnx import TensorProto, helper

from nas.first_layers import first_layers

COMPUTE = ("Conv", "Gemm")


def model(*nodes: tuple[str, list[str], str]) -> onnx.ModelProto:
    """Nodes named after their outputs; inputs x and z, and a weight that some exporters list as an input too."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "z", "w")]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    made = [helper.make_node(operator, read, [written], name=written) for operator, read, written in nodes]
    return helper.make_model(helper.make_graph(made, "network", inputs, [], [weight]))


def test_every_input_has_its_first_layer_and_its_clamp() -> None:
    network = model(
        ("Transpose", ["x"], "turned"),
        ("Conv", ["turned", "w"], "stem"),
        ("Relu", ["stem"], "clamped"),
        ("Conv", ["clamped", "w"], "second"),
        ("Gemm", ["z", "w"], "side"),
        ("Add", ["second", "side"], "sum"),
        ("Gemm", ["sum", "w"], "head"),
    )
    assert first_layers(network, COMPUTE) == ["stem", "clamped", "side"]


def test_a_clamp_that_is_not_the_only_reader_stays_where_it_is() -> None:
    network = model(
        ("Conv", ["x", "w"], "stem"),
        ("Relu", ["stem"], "clamped"),
        ("Add", ["stem", "clamped"], "sum"),
        ("Conv", ["sum", "w"], "second"),
    )
    assert first_layers(network, COMPUTE) == ["stem"]


def test_what_reads_an_input_beside_features_is_no_first_layer() -> None:
    network = model(("Conv", ["x", "w"], "stem"), ("Concat", ["stem", "z"], "both"), ("Gemm", ["both", "w"], "head"))
    assert first_layers(network, COMPUTE) == ["stem"]


def test_a_network_of_first_layers_alone_has_none() -> None:
    assert first_layers(model(("Conv", ["x", "w"], "only"), ("Relu", ["only"], "clamped")), COMPUTE) == []
    assert first_layers(model(("Relu", ["x"], "clamped")), COMPUTE) == []
