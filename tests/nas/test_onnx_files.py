from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nas.errors import UserError
from nas.onnx_files import Input, any_feed, precision_of, read_network, shared_inputs
from tests.latency_models.contract import two_input_network


def model(
    dims: list[int | str] | None, kind: int = TensorProto.FLOAT, weight: np.ndarray | None = None, op: str = "Identity"
) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, kind, dims) for name in "xy")
    constants = [] if weight is None else [numpy_helper.from_array(weight, "w")]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "one", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_open_axes_are_one(tmp_path: Path) -> None:
    onnx.save(model(["batch", 3, 8, "width"]), tmp_path / "n.onnx")
    network = read_network(tmp_path / "n.onnx")
    assert network.inputs == (Input("x", np.dtype("float32"), (1, 3, 8, 1)),)
    assert network.artifact.precision == "float32"
    assert network.artifact.size_bytes == (tmp_path / "n.onnx").stat().st_size


def test_weights_that_are_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    old = model([1, 2], weight=np.zeros(2, np.float32))
    old.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]))
    onnx.save(old, tmp_path / "n.onnx")
    assert [one.name for one in read_network(tmp_path / "n.onnx").inputs] == ["x"]


def test_precision_is_seen_in_nodes_and_weights() -> None:
    assert precision_of(model([1])) == "float32"
    assert precision_of(model([1], weight=np.zeros(2, np.float16))) == "float16"
    assert precision_of(model([1], weight=np.zeros(2, np.float16), op="DequantizeLinear")) == "int8"
    assert precision_of(model([1], op="QLinearConv")) == "int8"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no file .*none\.onnx"):
        read_network(tmp_path / "none.onnx")


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x00" * 64, b"\x08\x08"])
def test_what_is_no_network_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.onnx is no ONNX network"):
        read_network(path)


def test_an_input_without_a_shape_is_refused(tmp_path: Path) -> None:
    onnx.save(model(None), tmp_path / "n.onnx")
    with pytest.raises(UserError, match="does not say what shape its input x has"):
        read_network(tmp_path / "n.onnx")


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    big = model([1], weight=np.zeros(1000, np.float32))
    onnx.save(big, tmp_path / "n.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(UserError, match="keeps its weights in other files"):
        read_network(tmp_path / "n.onnx")


def test_networks_with_other_inputs_are_refused(tmp_path: Path) -> None:
    two_input_network(tmp_path / "two.onnx")
    onnx.save(model([1, 3]), tmp_path / "one.onnx")
    networks = [read_network(tmp_path / name) for name in ("two.onnx", "one.onnx")]
    assert len(shared_inputs(networks[:1])) == 2
    with pytest.raises(UserError, match=r"two.onnx takes a float32 1x2, b float32 1x2, but .*one.onnx takes x float32"):
        shared_inputs(networks)


def test_a_feed_is_the_same_for_a_seed_and_of_the_inputs_types() -> None:
    inputs = (Input("x", np.dtype("float16"), (1, 2)), Input("tokens", np.dtype("int64"), (1, 3)))
    feed = any_feed(inputs, 0)
    assert (feed["x"].dtype, feed["x"].shape) == (np.float16, (1, 2))
    np.testing.assert_array_equal(feed["tokens"], np.zeros((1, 3), np.int64))
    np.testing.assert_array_equal(feed["x"], any_feed(inputs, 0)["x"])
    assert (feed["x"] != any_feed(inputs, 1)["x"]).all()
