"""An exported network in half precision, its inputs and outputs left in float32."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from latency_models.onnxruntime_backend import ORT_ERRORS

COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Sums over a whole map, row or feature axis: in half precision they would lose digits (2048 + 1 = 2048) and overflow.
# Their inputs and outputs are cast, which compilers fuse away.
SUMS = (
    "GlobalAveragePool", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LogSoftmax",
    "LpNormalization", "Pow", "ReduceL2", "ReduceMean", "ReduceSum", "ReduceSumSquare", "Softmax",
)  # fmt: skip
FLOAT32_ONLY = sorted({*DEFAULT_OP_BLOCK_LIST, *SUMS} - {"Min", "Max"})
LARGEST = float(np.finfo(np.float16).max)
HEADROOM = 2.0
"""Calibration may reach this many times less than the largest number, as inputs to come may go further."""
ENDLESS = 1e38
"""What is beyond this stands for infinity (an attention mask, an open clip) and becomes the largest number."""
N_CALIBRATION = 32


def to_float16(content: bytes, calibration: Mapping[str, NDArray[np.generic]]) -> bytes:
    """The float16 version of an exported network: weights and activations in half precision.

    Sums over whole maps and feature axes (`SUMS`) stay float32 between casts. Inputs and outputs are those of the
    float32 file. A weight too small for half precision becomes the smallest number that it has.

    Args:
        content: ONNX file, weights inside, float32.
        calibration: input name to (n, ...) array, n >= 1; the first `N_CALIBRATION` show how large activations get.

    Raises:
        ValueError: there is nothing to convert, a constant or an activation is too large for half precision, the
            calibration does not fit the inputs, or the network has a part that cannot be converted.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
    if not any(node.op_type in COMPUTE for node in model.graph.node):
        raise ValueError("the network has no convolution or matrix product to compute in float16")
    _check_constants(model)
    _check_activations(model, calibration)
    converted = convert_float_to_float16(model, keep_io_types=True, op_block_list=FLOAT32_ONLY)
    _join_float32(converted)
    ONNXModel(converted).topological_sort()
    del converted.graph.value_info[:]
    try:
        onnx.checker.check_model(converted, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(f"the network cannot be converted to float16: {str(error).strip().splitlines()[0]}") from error
    whole: bytes = converted.SerializeToString()
    return whole


def _check_constants(model: onnx.ModelProto) -> None:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        constants |= {
            f"{node.op_type} {node.name}": a.t for a in node.attribute if a.type == onnx.AttributeProto.TENSOR
        }
    for name, tensor in constants.items():
        if tensor.data_type == TensorProto.FLOAT:
            sizes = np.abs(numpy_helper.to_array(tensor))
            if np.isnan(sizes).any():
                raise ValueError(f"the constant {name} is NaN")
            largest = float(sizes[sizes < ENDLESS].max(initial=0.0))
            if largest > LARGEST:
                raise ValueError(f"the constant {name} reaches {largest:.3g}, float16 ends at {LARGEST:.0f}")


def _check_activations(model: onnx.ModelProto, calibration: Mapping[str, NDArray[np.generic]]) -> None:
    """Runs the float32 network and compares the largest value of each tensor that becomes float16."""
    known = {value.name: value for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
    half = [node for node in model.graph.node if node.op_type not in FLOAT32_ONLY]
    names = [
        name
        for name in dict.fromkeys(name for node in half for name in (*node.input, *node.output))
        if name in known and known[name].type.tensor_type.elem_type == TensorProto.FLOAT
    ]
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    del observed.graph.output[:]
    observed.graph.initializer.append(numpy_helper.from_array(np.array(ENDLESS, np.float32), "endless"))
    observed.graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "nothing"))
    for name in names:
        size, masked, counted, top = (f"{word} of {name}" for word in ("size", "masked", "counted", "largest"))
        observed.graph.node.append(helper.make_node("Abs", [name], [size]))
        observed.graph.node.append(helper.make_node("Greater", [size, "endless"], [masked]))
        observed.graph.node.append(helper.make_node("Where", [masked, "nothing", size], [counted]))
        observed.graph.node.append(helper.make_node("ReduceMax", [counted], [top], keepdims=0))
        observed.graph.output.append(helper.make_tensor_value_info(top, TensorProto.FLOAT, []))
    largest = _run(observed, {name: array[:N_CALIBRATION] for name, array in calibration.items()})
    for name, value in zip(names, largest, strict=True):
        reached = float(value)
        if not reached <= LARGEST / HEADROOM:
            raise ValueError(
                f"activation {name} reaches {reached:.3g} on the calibration inputs, too close to where "
                f"float16 ends ({LARGEST:.0f})"
            )


def _run(model: onnx.ModelProto, feed: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        outputs: list[NDArray[np.generic]] = session.run(None, dict(feed))
    except (*ORT_ERRORS, ValueError) as error:
        raise ValueError(f"the calibration does not fit the network: {str(error).strip().splitlines()[0]}") from error
    return outputs


def _join_float32(model: onnx.ModelProto) -> None:
    """Lets neighbours that both stay float32 pass float32 on, instead of casting down and up again between them."""
    nodes = model.graph.node
    outputs = {value.name for value in model.graph.output}
    wide = {node.output[0]: node.input[0] for node in nodes if _casts_to(node, TensorProto.FLOAT16)}
    kept: list[Any] = []
    instead: dict[str, str] = {}
    for node in nodes:
        if _casts_to(node, TensorProto.FLOAT) and node.input[0] in wide and node.output[0] not in outputs:
            instead[node.output[0]] = wide[node.input[0]]
        else:
            kept.append(node)
    for node in kept:
        for i, name in enumerate(node.input):
            if name in instead:
                node.input[i] = instead[name]
    read = {name for node in kept for name in node.input} | outputs
    del nodes[:]
    nodes.extend(node for node in kept if not (node.op_type == "Cast" and node.output[0] not in read))


def _casts_to(node: Any, kind: int) -> bool:
    """Whether a node is one of the converter's own casts."""
    ours = "_cast_to_fp" in node.name or node.name.startswith("graph_input_cast")
    return ours and node.op_type == "Cast" and any(a.name == "to" and a.i == kind for a in node.attribute)
