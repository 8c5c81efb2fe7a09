"""An ONNX file as plain data: nodes in order, constants as numpy arrays, inputs with the shapes of a feed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper

from latency_models.artifact import Artifact
from latency_models.errors import LatencyError

Array = NDArray[Any]
Shapes = Mapping[str, tuple[int, ...]]
"""Input name to shape, batch axis included."""

QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul",
             "ConvInteger", "MatMulInteger")  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One operator call.

    Attributes:
        operator: ONNX name, with its domain in front where that is not ONNX's own.
        inputs, outputs: tensor names; an input left out is the empty string.
        attributes: strings decoded, tensors as arrays.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Input:
    """An input of the network: its name, static shape and numpy type."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Graph:
    """A network with static input shapes; `nodes` are in order and all of them lead to an output."""

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]

    @property
    def float16(self) -> bool:
        """Whether any part of it computes in half precision."""
        to_float16 = any(
            node.operator == "Cast" and node.attributes.get("to") == onnx.TensorProto.FLOAT16 for node in self.nodes
        )
        return to_float16 or any(array.dtype == np.float16 for array in self.constants.values())


def graph_of(artifact: Artifact, shapes: Shapes) -> Graph:
    """Reads an artifact, checked against its digest.

    Args:
        artifact: the ONNX file, weights inside.
        shapes: of every input.

    Raises:
        LatencyError: the file is missing, changed, cut short or int8, or the shapes do not fit its inputs.
    """
    model = _parsed(artifact)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    inputs = tuple(_input(value, shapes) for value in model.graph.input if value.name not in constants)
    nodes = tuple(_node(node) for node in model.graph.node)
    refuse_int8(artifact, nodes)
    outputs = tuple(value.name for value in model.graph.output)
    return _alive(Graph(inputs, outputs, nodes, constants))


def refuse_int8(artifact: Artifact, nodes: tuple[Node, ...]) -> None:
    """Raises:
    LatencyError: the artifact computes in int8, which TVM would do in float32 between conversions.
    """
    if artifact.precision == "int8" or any(node.operator in QUANTIZED for node in nodes):
        raise LatencyError(
            f"{artifact.path.name} is int8, which TVM would compute in float32 between conversions.",
            "Time int8 students with ONNX Runtime (target `cpu`), or float32 and float16 ones with TVM.",
        )


def _parsed(artifact: Artifact) -> onnx.ModelProto:
    content = artifact.read()
    try:
        model = onnx.load_from_string(content)
    except DecodeError as error:
        raise _unreadable(artifact, "it is not an ONNX file, or is cut short") from error
    if not model.graph.node or not model.graph.output:
        raise _unreadable(artifact, "it holds no network, or is cut short")
    return model


def _unreadable(artifact: Artifact, why: str) -> LatencyError:
    return LatencyError(f"TVM cannot load {artifact.path}: {why}.", "Export the student again.")


def _input(value: Any, shapes: Shapes) -> Input:
    if value.name not in shapes:
        raise LatencyError(
            f"The network's input {value.name} has no shape in the feed, which has {sorted(shapes)}.",
            "Give one array for each input of the network, under its name.",
        )
    kind = value.type.tensor_type
    return Input(value.name, tuple(shapes[value.name]), onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name)


def _node(node: Any) -> Node:
    operator = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    attributes = {one.name: _attribute(one) for one in node.attribute}
    return Node(operator, tuple(node.input), tuple(node.output), attributes)


def _attribute(attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _alive(graph: Graph) -> Graph:
    """Without the nodes and constants that no output needs."""
    needed, kept = set(graph.outputs), list[Node]()
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    constants = {name: array for name, array in graph.constants.items() if name in needed}
    return Graph(graph.inputs, graph.outputs, tuple(reversed(kept)), constants)
