"""Static int8 quantisation of an exported student with ONNX Runtime, in memory and without its slow preprocessing."""

import contextlib
import logging
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import TensorData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import add_infer_metadata

from latency_models.artifact import Artifact
from latency_models.onnxruntime_backend import ORT_ERRORS
from nas.first_layers import first_layers

Method = Literal["minmax", "percentile"]
"""How an activation's range is found: its extremes over all calibration inputs, or the mean over batches of its 0.01
and 99.99 % points (Wu et al. 2020, "Integer quantization for deep learning inference", section 5.2)."""

Ranges = dict[str, tuple[float, float]]

PERCENTILE = 0.9999
COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Beside what computes, only what passes int8 through: softmax and normalisation lose accuracy and gain no time.
QUANTIZED = (
    *COMPUTE, "Add", "Mul", "Relu", "Clip", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat",
    "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Pad", "Slice", "Split", "Resize",
)  # fmt: skip


def quantize_int8(
    float32: bytes,
    out: Path,
    calibration: Mapping[str, NDArray[np.generic]],
    n_batch: int = 32,
    method: Method = "minmax",
    reduce_range: bool | None = None,
    float32_first: bool = False,
) -> Artifact:
    """Writes the int8 version of an exported network: QDQ format, weights int8 per output channel, activations uint8.

    Outputs that come straight out of a matrix product stay float32, so that close logits do not become ties.

    Args:
        float32: content of the ONNX file, weights inside.
        out: file to write; it appears whole or not at all.
        calibration: input name to array; first axis n samples, the same n for all.
        n_batch: samples to an inference; a graph with a fixed batch is fed that many at a time.
        method: how activation ranges are found.
        reduce_range: 7-bit weights, needed where the processor adds pairs of int8 products in 16 bits, which overflow
            (x86 without VNNI). None: as this machine needs.
        float32_first: whether the layers that read the inputs stay in float32, where others are behind them.

    Raises:
        ValueError: there is nothing to quantise, the calibration does not fit the inputs, or it makes an activation NaN
            or infinite.
    """
    model = _folded(float32)
    if not any(node.op_type in COMPUTE for node in model.graph.node):
        raise ValueError("the network has no convolution or matrix product to quantise")
    ranges = _ranges(model, _batches(model, calibration, n_batch), method)
    reduce_range = needs_reduced_range() if reduce_range is None else reduce_range
    quantized = _quantized(model, ranges, reduce_range, first_layers(model, COMPUTE) if float32_first else [])
    if not any(node.op_type == "DequantizeLinear" for node in quantized.graph.node):
        raise ValueError("the network has no weights that can be quantised")
    _keep_outputs_float(quantized)
    _clean_metadata(quantized)
    unfinished = out.with_name(out.name + ".part")
    try:
        unfinished.write_bytes(quantized.SerializeToString())
        os.replace(unfinished, out)
    finally:
        unfinished.unlink(missing_ok=True)
    return Artifact.from_file(out, "int8")


def needs_reduced_range(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether 8-bit weights can overflow here: an x86 processor that does not say it has VNNI."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    text = cpu_info.read_text() if cpu_info.is_file() else ""
    return not {"avx512_vnni", "avx_vnni"} & set(text.split())


def _folded(float32: bytes) -> onnx.ModelProto:
    """The model after constant folding and batch-norm fusion by ONNX Runtime's basic optimiser, with shapes."""
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        options = _quiet_options(ort.GraphOptimizationLevel.ORT_ENABLE_BASIC)
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        # Sharing constants renames them and lets layers share a bias, which the quantiser cannot scale per layer.
        ort.InferenceSession(
            float32, options, providers=["CPUExecutionProvider"], disabled_optimizers=["ConstantSharing"]
        )
        model = onnx.shape_inference.infer_shapes(onnx.load(options.optimized_model_filepath))
    for i, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{i}"  # the quantiser tells nodes apart by name, ONNX need not
    return model


def _batches(
    model: onnx.ModelProto, calibration: Mapping[str, NDArray[np.generic]], n_batch: int
) -> list[dict[str, NDArray[np.generic]]]:
    names = {value.name for value in model.graph.input}
    if set(calibration) != names:
        raise ValueError(f"the network's inputs are {sorted(names)}, the calibration's are {sorted(calibration)}")
    fixed = {value.type.tensor_type.shape.dim[0].dim_value for value in model.graph.input} - {0}
    size = max(fixed, default=n_batch)
    n = min(len(array) for array in calibration.values())
    stop = n - n % size if fixed else n
    if stop == 0 or any(len(array) != n for array in calibration.values()):
        raise ValueError(f"every input needs the same number of calibration samples, at least {size if fixed else 1}")
    return [{name: array[i : i + size] for name, array in calibration.items()} for i in range(0, stop, size)]


def _ranges(
    model: onnx.ModelProto, batches: Sequence[Mapping[str, NDArray[np.generic]]], method: Method
) -> dict[str, TensorData]:
    """Range of every activation that may be quantised.

    What only a ReLU or Clip reads takes the range of that node's output: it is not observed itself, so that ONNX
    Runtime may fuse the two and compute in its blocked layout, which halves the time.
    """
    passed_on = _read_only_by_clamps(model)
    known = {value.name: value for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
    names = [
        name
        for name in (*(value.name for value in model.graph.input), *(o for n in model.graph.node for o in n.output))
        if name in known and known[name].type.tensor_type.elem_type == onnx.TensorProto.FLOAT and name not in passed_on
    ]
    found = _extremes(model, names, batches) if method == "minmax" else _percentiles(model, names, batches)
    for name in names:
        if not np.isfinite(found[name]).all():
            raise ValueError(f"the calibration makes activation {name} NaN or infinite")
    for name, clamp in passed_on.items():
        while clamp in passed_on:
            clamp = passed_on[clamp]
        if clamp in found:
            found[name] = found[clamp]
    return {
        name: TensorData(lowest=np.float32(low).reshape(()), highest=np.float32(high).reshape(()))
        for name, (low, high) in found.items()
    }


def _read_only_by_clamps(model: onnx.ModelProto) -> dict[str, str]:
    """Tensor to the output of the ReLU or Clip that alone reads it."""
    outputs = {value.name for value in model.graph.output}
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    produced = {name for node in model.graph.node for name in node.output}
    return {
        name: nodes[0].output[0]
        for name, nodes in readers.items()
        if len(nodes) == 1 and nodes[0].op_type in ("Relu", "Clip") and name in produced - outputs
    }


def _observed(model: onnx.ModelProto, nodes: Sequence[Any], outputs: Sequence[Any]) -> ort.InferenceSession:
    """A session of the model with other outputs."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    observed.graph.node.extend(nodes)
    del observed.graph.output[:]
    observed.graph.output.extend(outputs)
    options = _quiet_options(ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    return ort.InferenceSession(observed.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _run(session: ort.InferenceSession, batch: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
    try:
        values: list[NDArray[np.generic]] = session.run(None, dict(batch))
    except ORT_ERRORS as error:
        raise ValueError(f"the calibration does not fit the network's inputs: {error}") from error
    return values


def _extremes(
    model: onnx.ModelProto, names: Sequence[str], batches: Sequence[Mapping[str, NDArray[np.generic]]]
) -> Ranges:
    """Smallest and largest value of each tensor, reduced inside the graph so that no activation is copied out.

    What a ReLU gives is at least 0, where every range begins at the latest; only its largest value is looked at.
    """
    positive = {node.output[0] for node in model.graph.node if node.op_type == "Relu"}
    lows = [name for name in names if name not in positive]
    nodes, outputs = [], []
    for operator, name in [*(("ReduceMin", name) for name in lows), *(("ReduceMax", name) for name in names)]:
        output = f"{operator} of {name}"
        nodes.append(onnx.helper.make_node(operator, [name], [output], keepdims=0))
        outputs.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, []))
    session = _observed(model, nodes, outputs)
    values = np.array([_run(session, batch) for batch in batches], dtype=np.float64).reshape(len(batches), len(nodes))
    low = dict.fromkeys(names, 0.0) | dict(zip(lows, values[:, : len(lows)].min(0).tolist(), strict=True))
    high = dict(zip(names, values[:, len(lows) :].max(0).tolist(), strict=True))
    return {name: (low[name], high[name]) for name in names}


def _percentiles(
    model: onnx.ModelProto, names: Sequence[str], batches: Sequence[Mapping[str, NDArray[np.generic]]]
) -> Ranges:
    inputs = {value.name for value in model.graph.input}
    inner = [name for name in names if name not in inputs]
    session = _observed(
        model, [], [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in inner]
    )
    points = np.zeros((len(batches), len(names), 2))
    for i, batch in enumerate(batches):
        tensors = {**batch, **dict(zip(inner, _run(session, batch), strict=True))}
        points[i] = [np.quantile(tensors[name].astype(np.float32), (1 - PERCENTILE, PERCENTILE)) for name in names]
    means = points.mean(axis=0)
    return {name: (float(low), float(high)) for name, (low, high) in zip(names, means, strict=True)}


def _quantized(
    model: onnx.ModelProto, ranges: dict[str, TensorData], reduce_range: bool, kept: list[str]
) -> onnx.ModelProto:
    add_infer_metadata(model)  # says that shapes are there; without it the quantiser infers them again by way of files
    with _silent_logging():
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=reduce_range,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=kept,
            op_types_to_quantize=list(QUANTIZED),
            extra_options={},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized


def _keep_outputs_float(model: onnx.ModelProto) -> None:
    """Takes the quantisation off outputs of matrix products, whose kernels can write float32."""
    producers = {name: node for node in model.graph.node for name in node.output}
    for value in model.graph.output:
        dequantize = producers.get(value.name)
        quantize = (
            producers.get(dequantize.input[0]) if dequantize and dequantize.op_type == "DequantizeLinear" else None
        )
        compute = producers.get(quantize.input[0]) if quantize and quantize.op_type == "QuantizeLinear" else None
        if dequantize is None or quantize is None or compute is None or compute.op_type not in ("Gemm", "MatMul"):
            continue
        inner = quantize.input[0]
        readers = [node for node in model.graph.node if inner in node.input or dequantize.input[0] in node.input]
        if len(readers) != 2 or any(value.name in node.input for node in model.graph.node):
            continue
        unused = {*quantize.input[1:], *dequantize.input[1:]}
        model.graph.node.remove(quantize)
        model.graph.node.remove(dequantize)
        compute.output[list(compute.output).index(inner)] = value.name
        unused -= {name for node in model.graph.node for name in node.input}
        for tensor in [tensor for tensor in model.graph.initializer if tensor.name in unused]:
            model.graph.initializer.remove(tensor)


def _clean_metadata(model: onnx.ModelProto) -> None:
    """Drops the quantiser's notes to itself, stale shapes, and operator sets that the optimiser listed for nothing."""
    kept = [prop for prop in model.metadata_props if not prop.key.startswith("onnx.")]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    del model.graph.value_info[:]
    domains = {node.domain for node in model.graph.node} | {""}
    opsets = [opset for opset in model.opset_import if opset.domain in domains]
    del model.opset_import[:]
    model.opset_import.extend(opsets)


def _quiet_options(level: Any) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return options


@contextlib.contextmanager
def _silent_logging() -> Iterator[None]:
    """The quantiser warns through the root logger, which would also install a handler that prints."""
    root, handler, disabled = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    root.addHandler(handler)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.removeHandler(handler)
