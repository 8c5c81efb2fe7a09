"""An ONNX graph as plain values: operators, shapes of constants, and no weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper

from latency_models.artifact import Artifact
from latency_models.errors import LatencyError

Shape = tuple[int, ...]
MAX_VALUES = 64
"""Constants with more elements than this are weights: their values say nothing of shapes."""


@dataclass(frozen=True)
class Node:
    """One operator as it stands in the file.

    Attributes:
        operator: in ONNX's words.
        inputs, outputs: names of tensors; "" where an optional one is left out.
        attributes: by name.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Constant:
    """A weight or a parameter.

    Attributes:
        shape: of the tensor.
        item_bytes: of one element.
        values: of small tensors that lie in the file; None of others.
    """

    shape: Shape
    item_bytes: int = 4
    values: NDArray[np.generic] | None = None


@dataclass(frozen=True)
class Graph:
    """A network without its weights.

    Attributes:
        nodes: in an order in which they can run.
        inputs: name to shape, dimensions that the file leaves open taken as 1.
        outputs: names.
        constants: by name.
        known_shapes: of tensors, where the file or ONNX's own inference says them; filled only where it is needed.
    """

    nodes: tuple[Node, ...]
    inputs: Mapping[str, Shape]
    outputs: tuple[str, ...]
    constants: Mapping[str, Constant]
    known_shapes: Mapping[str, Shape] = field(default_factory=dict)


def graph_of(source: Artifact | Path | bytes | onnx.ModelProto) -> Graph:
    """The graph of an ONNX model; weights need not lie in the file.

    Raises:
        LatencyError: the file cannot be read or is no ONNX model.
    """
    model = source if isinstance(source, onnx.ModelProto) else _loaded(source)
    graph = model.graph
    constants = {one.name: _constant(one) for one in graph.initializer}
    nodes = []
    for proto in graph.node:
        node = _node(proto)
        value = node.attributes.get("value")
        if node.operator == "Constant" and isinstance(value, onnx.TensorProto):
            constants[node.outputs[0]] = _constant(value)
        else:
            nodes.append(node)
    inputs = {one.name: _dims(one, 1) for one in graph.input if one.name not in constants}
    return Graph(tuple(nodes), inputs, tuple(one.name for one in graph.output), constants)


def with_inferred_shapes(model: onnx.ModelProto) -> Graph:
    """The graph with every shape that ONNX's own inference finds, open dimensions set to 1.

    Raises:
        LatencyError: ONNX does not know an operator, or its shapes do not fit.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.dim_value = 1
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(copy, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise LatencyError(
            f"ONNX cannot tell the network's shapes: {error}", "Measure it; its latency cannot be predicted."
        ) from error
    shapes = {
        one.name: _dims(one, 1)
        for one in (*inferred.value_info, *inferred.output)
        if one.type.tensor_type.HasField("shape")
    }
    graph = graph_of(copy)
    return Graph(graph.nodes, graph.inputs, graph.outputs, graph.constants, shapes)


def _loaded(source: Artifact | Path | bytes) -> onnx.ModelProto:
    name = "The network" if isinstance(source, bytes) else str(source.path if isinstance(source, Artifact) else source)
    try:
        content = source if isinstance(source, bytes) else _content(source)
        model = onnx.load_from_string(content)
    except (OSError, DecodeError) as error:
        raise LatencyError(f"{name} cannot be read as ONNX: {error}", "Export the network again.") from error
    if not model.graph.node:
        raise LatencyError(f"{name} holds no operators.", "Export the network again.")
    return model


def _content(source: Artifact | Path) -> bytes:
    return source.read() if isinstance(source, Artifact) else source.read_bytes()


def _node(proto: onnx.NodeProto) -> Node:
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in proto.attribute}
    return Node(proto.op_type, tuple(proto.input), tuple(proto.output), attributes)


def _constant(tensor: onnx.TensorProto) -> Constant:
    shape = tuple(tensor.dims)
    n_values = 1
    for size in shape:
        n_values *= size
    inside = n_values <= MAX_VALUES and tensor.data_location != onnx.TensorProto.EXTERNAL
    item_bytes = _ITEM_BYTES.get(int(tensor.data_type), 4)
    return Constant(shape, item_bytes, numpy_helper.to_array(tensor) if inside else None)


def _dims(value: onnx.ValueInfoProto, open_size: int) -> Shape:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.dim_value > 0 else open_size for dim in dims)


_ITEM_BYTES: dict[int, int] = {
    onnx.TensorProto.FLOAT16: 2, onnx.TensorProto.BFLOAT16: 2, onnx.TensorProto.INT8: 1, onnx.TensorProto.UINT8: 1,
    onnx.TensorProto.BOOL: 1, onnx.TensorProto.INT64: 8, onnx.TensorProto.DOUBLE: 8,
}  # fmt: skip
