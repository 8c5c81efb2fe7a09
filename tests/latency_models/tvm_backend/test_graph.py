from pathlib import Path

import numpy as np
import pytest

from latency_models.errors import LatencyError
from latency_models.tvm_backend.graph import graph_of
from tests.latency_models.tvm_backend.networks import network, node, normal

FEED = {"x": normal(1, 4)}


def test_what_no_output_needs_is_left_out(tmp_path: Path) -> None:
    nodes = [node("Add", "x a", "u"), node("Mul", "x b", "y")]
    artifact = network(tmp_path / "n.onnx", nodes, FEED, {"a": np.float32(1), "b": np.float32(2)})
    graph = graph_of(artifact, {"x": (3, 4)})
    assert [one.operator for one in graph.nodes] == ["Mul"]
    assert list(graph.constants) == ["b"]
    assert (graph.inputs[0].shape, graph.inputs[0].dtype, graph.outputs) == ((3, 4), "float32", ("y",))


def test_attributes_and_foreign_operators_keep_their_names(tmp_path: Path) -> None:
    artifact = network(tmp_path / "n.onnx", [node("Conv", "x w", auto_pad="VALID", domain="com.example")], FEED)
    (only,) = graph_of(artifact, {"x": (1, 4)}).nodes
    assert (only.operator, only.attributes) == ("com.example.Conv", {"auto_pad": "VALID"})


def test_half_precision_is_seen(tmp_path: Path) -> None:
    for constant, half in ((np.float16(1), True), (np.float32(1), False)):
        artifact = network(tmp_path / "n.onnx", [node("Add", "x a")], FEED, {"a": constant})
        assert graph_of(artifact, {"x": (1, 4)}).float16 is half


def test_an_input_without_a_shape_is_named(tmp_path: Path) -> None:
    artifact = network(tmp_path / "n.onnx", [node("Relu", "x")], FEED)
    with pytest.raises(LatencyError, match=r"input x has no shape in the feed, which has \['z'\]"):
        graph_of(artifact, {"z": (1, 4)})
