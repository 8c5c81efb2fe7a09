import pytest
from onnx import helper

from latency_models.errors import LatencyError
from latency_models.predict.graph import graph_of
from latency_models.predict.kernels import network_of
from latency_models.predict.variants import Variants
from tests.latency_models.predict.networks import model, weight


def network(inner: int) -> dict[str, tuple[int, ...]]:
    return {"a": (inner, 3, 1, 1), "b": (inner, 1, 3, 3), "c": (4, inner, 1, 1)}


def drawn(inner: int, group: int) -> bytes:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["t"]),
        helper.make_node("Conv", ["t", "b"], ["u"], group=group),
        helper.make_node("Relu", ["u"], ["r"]),
        helper.make_node("Conv", ["r", "c"], ["y"]),
    ]
    constants = {name: weight(*shape) for name, shape in network(inner).items()}
    return bytes(model(nodes, constants).SerializeToString())


def test_a_variant_is_what_its_own_file_says() -> None:
    variants = Variants(graph_of(drawn(8, 8)))
    for inner in (8, 5, 16, 5):
        assert variants.network(network(inner)) == network_of(drawn(inner, inner))
    assert variants.network({}) == network_of(drawn(8, 8))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(LatencyError, match="do not fit"):
        Variants(graph_of(drawn(8, 8))).network({"a": (8,)})
