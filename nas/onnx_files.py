"""Any ONNX file as an artifact, and inputs to run it with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from latency_models.artifact import Artifact, Precision
from nas.errors import UserError

INTEGER_OPERATORS = ("MatMulInteger", "ConvInteger", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


@dataclass(frozen=True)
class Input:
    """One input of a network.

    Attributes:
        name: in the graph.
        dtype: of numpy.
        shape: of one sample with its batch axis: axes that the file leaves open are 1.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """An ONNX file.

    Attributes:
        artifact: the file with its digest and precision.
        inputs: in the graph's order.
    """

    artifact: Artifact
    inputs: tuple[Input, ...]


def read_network(path: Path) -> Network:
    """What lies at a path.

    Raises:
        UserError: there is no such file, it is a folder or no ONNX network, or an input is no tensor of known rank.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder.", "Name ONNX files; those of a run are in its folder artifacts/.")
    if not path.is_file():
        raise UserError(f"There is no file {path}.", "Check the path.")
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError) as error:
        raise _no_network(path) from error
    if not model.graph.node or not model.opset_import:
        raise _no_network(path)
    if any(constant.data_location == onnx.TensorProto.EXTERNAL for constant in model.graph.initializer):
        raise UserError(f"{path} keeps its weights in other files.", "Save it with the weights inside.")
    constants = {constant.name for constant in model.graph.initializer}
    inputs = tuple(_input(path, value) for value in model.graph.input if value.name not in constants)
    return Network(Artifact.from_file(path, precision_of(model)), inputs)


def precision_of(model: onnx.ModelProto) -> Precision:
    """What a network computes in, from its nodes and weights."""
    kinds = {node.op_type for node in model.graph.node}
    if any(kind in INTEGER_OPERATORS or kind.startswith("QLinear") for kind in kinds):
        return "int8"
    if any(constant.data_type == onnx.TensorProto.FLOAT16 for constant in model.graph.initializer):
        return "float16"
    return "float32"


def shared_inputs(networks: Sequence[Network]) -> tuple[Input, ...]:
    """The inputs that all networks take.

    Raises:
        UserError: they differ.
    """
    first = networks[0]
    for other in networks[1:]:
        if set(other.inputs) != set(first.inputs):
            raise UserError(
                f"{first.artifact.path} takes {_in_words(first.inputs)}, but {other.artifact.path} takes "
                f"{_in_words(other.inputs)}.",
                "Only networks with the same inputs can be timed beside each other.",
            )
    return first.inputs


def any_feed(inputs: Sequence[Input], seed: int) -> dict[str, NDArray[np.generic]]:
    """Values to time a network with: standard normal numbers, zeros where an input holds integers or truth values.

    Zeros would do for shapes, but not for time: processors compute with some values faster than with others.
    """
    generator = np.random.default_rng(seed)
    return {
        one.name: generator.standard_normal(one.shape).astype(one.dtype)
        if np.issubdtype(one.dtype, np.floating)
        else np.zeros(one.shape, one.dtype)
        for one in inputs
    }


def _input(path: Path, value: onnx.ValueInfoProto) -> Input:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise UserError(
            f"{path} does not say what shape its input {value.name} has.", "Export it with the shapes of its inputs."
        )
    shape = tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else 1 for dim in tensor.shape.dim)
    return Input(value.name, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)), shape)


def _in_words(inputs: Sequence[Input]) -> str:
    shapes = (f"{one.name} {one.dtype.name} {'x'.join(map(str, one.shape)) or 'scalar'}" for one in inputs)
    return ", ".join(shapes) or "no inputs"


def _no_network(path: Path) -> UserError:
    return UserError(f"{path} is no ONNX network.", "Name files that end in .onnx, as `nas export` writes them.")
