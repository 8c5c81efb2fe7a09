"""What each kernel of a network that ONNX Runtime has optimised does: operator, channels, operations, bytes.

The optimised graph pads channels, fuses, renames and reorders; the artifact's own graph still knows the true widths. So
a kernel is traced back, best effort, to the layer it came from; where that fails the optimised graph's figures stand.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import onnx

from latency_models.kernel import KernelTime

COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul")
POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "ReduceMean", "ReduceSum")
ELEMENTWISE = (
    "Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Neg", "Abs", "Sqrt", "Exp", "Erf", "Pow", "Relu", "LeakyRelu",
    "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Gelu", "QuickGelu", "Softmax",
    "BatchNormalization", "LayerNormalization", "SkipLayerNormalization", "InstanceNormalization",
)  # fmt: skip
RENAMED = {
    "ReorderInput": "Reorder", "ReorderOutput": "Reorder", "MatMulInteger": "MatMul", "ConvInteger": "Conv",
    "MatMulIntegerToFloat": "MatMul", "DynamicQuantizeMatMul": "MatMul", "TransposeMatMul": "MatMul",
}  # fmt: skip
_FUSED = re.compile(r"(QLinear|NhwcFused|Nhwc|Fused|Q)(?=[A-Z])")
_TENSOR_ENDING = re.compile(r"(_nchwc|_scale|_zero_point|_QuantizeLinear_Output|_DequantizeLinear_Output|_quantized)$")
_OUTPUT_ENDING = re.compile(r"_output_\d+$")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Traced:
    """What the profiler says of one kernel.

    Attributes:
        name: of its node in the optimised graph.
        op_type: of the node.
        inputs, outputs: (element type, shape) each; weights that were repacked are left out by the runtime.
        activation_bytes, output_bytes: of inputs that are no weights, and of outputs.
    """

    name: str
    op_type: str
    inputs: tuple[tuple[str, Shape], ...]
    outputs: tuple[tuple[str, Shape], ...]
    activation_bytes: int
    output_bytes: int


@final
@dataclass(frozen=True)
class Graph:
    """A graph that can be asked who makes what.

    Attributes:
        nodes: by name.
        producers: by the name of each output.
        constants: initialisers by name.
        shapes: of tensors, where they are known.
    """

    nodes: Mapping[str, onnx.NodeProto]
    producers: Mapping[str, onnx.NodeProto]
    constants: Mapping[str, onnx.TensorProto]
    shapes: Mapping[str, Shape] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> "Graph":
        """The graph of a model; shapes from its value infos."""
        shapes = {}
        for value in (*graph.input, *graph.value_info, *graph.output):
            dims = value.type.tensor_type.shape.dim
            if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
                shapes[value.name] = tuple(dim.dim_value for dim in dims)
        return cls(
            {node.name: node for node in graph.node},
            {name: node for node in graph.node for name in node.output if name},
            {constant.name: constant for constant in graph.initializer},
            shapes,
        )

    def weight_dims(self, node: onnx.NodeProto) -> Shape:
        """Shape of the weights of a convolution or matrix product; () if none."""
        name = self.weight(node)
        return tuple(self.constants[name].dims) if name in self.constants else ()

    def weight(self, node: onnx.NodeProto) -> str:
        """Name of those weights, seen through a DequantizeLinear; "" if none."""
        position = 3 if node.op_type.startswith("QLinear") or node.op_type == "QGemm" else 1
        if len(node.input) <= position:
            return ""
        name = str(node.input[position])
        if name not in self.constants and name in self.producers:
            source = self.producers[name]
            name = str(source.input[0]) if source.op_type == "DequantizeLinear" else name
        return name


def describe(traced: Traced, seconds: float, original: Graph, optimised: Graph, claimed: set[str]) -> KernelTime:
    """A kernel with what it does; its name is the layer's, not yet unique.

    Args:
        traced: from the profiler.
        seconds: of one execution.
        original: the artifact's graph with the shapes that the feed gives.
        optimised: what the runtime made of it.
        claimed: output names of the artifact's layers that other kernels stand for; this one's is added.
    """
    node = optimised.nodes.get(traced.name)
    operator = _operator(traced, original)
    tensor = _original_tensor(node, original)
    layer = _layer(operator, node, tensor, original, optimised, claimed)
    out_type, shape = traced.outputs[0] if traced.outputs else ("float", ())
    in_shape = traced.inputs[0][1] if traced.inputs else ()
    if layer is not None:
        claimed.add(layer.output[0])
    if traced.op_type.startswith("Nhwc") and len(shape) == 4:  # its names say nothing of the tensor
        shape = (shape[0], shape[3], shape[1], shape[2])
    if operator != "Reorder":  # what the artifact's own graph says is in NCHW and without padding
        shape = original.shapes.get(layer.output[0] if layer is not None else tensor, shape)
    groups = int(_attribute(layer or node, "group", 1)) if operator.startswith("Conv") else 1
    dims = original.weight_dims(layer) if layer is not None else optimised.weight_dims(node) if node else ()
    n_in, n_out = _channels(operator, dims, groups, in_shape, shape)
    return KernelTime(
        name=traced.name if operator == "Reorder" else _label(layer, tensor, traced.name, original),
        operator=operator,
        seconds=seconds,
        n_flops=_flops(operator, dims, n_in, in_shape, shape, node),
        n_bytes=traced.activation_bytes + traced.output_bytes + _weight_bytes(node, optimised),
        n_in=n_in,
        n_out=n_out,
        groups=groups,
        shape=shape,
        precision=_precision([kind for kind, _ in (*traced.inputs, *traced.outputs)], out_type),
    )


def _operator(traced: Traced, original: Graph) -> str:
    name = RENAMED.get(traced.op_type) or _FUSED.sub("", traced.op_type, count=1)
    # A transpose that the artifact lacks was put in between two layouts.
    return "Reorder" if name == "Transpose" and traced.name not in original.nodes else name


def _original_tensor(node: onnx.NodeProto | None, original: Graph) -> str:
    """The tensor of the artifact that a kernel computes, "" where none of its names says so."""
    if node is None:
        return ""
    if node.op_type.startswith("QLinear"):
        # Scales of the same value are shared: zero points first. The output's is the last, a concatenation's the first.
        zeros = [name for name in node.input if name.endswith("_zero_point")]
        scales = [name for name in node.input if name.endswith("_scale")]
        names = [*node.output, *(zeros[:1] if node.op_type == "QLinearConcat" else (*zeros[::-1], *scales[::-1]))]
    else:
        names = [*node.output, node.name]
    for name in names:
        while name not in original.producers and _TENSOR_ENDING.search(name):
            name = _TENSOR_ENDING.sub("", name)
        if name in original.producers:
            return str(name)
    return ""


def _layer(
    operator: str, node: onnx.NodeProto | None, tensor: str, original: Graph, optimised: Graph, claimed: set[str]
) -> onnx.NodeProto | None:
    """The artifact's convolution or matrix product that a kernel stands for: the nearest one above its output."""
    if operator not in COMPUTE or node is None:
        return None
    weight = optimised.weight(node)
    for found in original.nodes.values() if weight in original.constants else ():
        if found.op_type == operator and original.weight(found) == weight and found.output[0] not in claimed:
            return found
    padded = optimised.weight_dims(node)
    if node.name in original.nodes and original.nodes[node.name].op_type == operator:
        return original.nodes[node.name]
    for found in _compute_above(tensor, original):
        dims = original.weight_dims(found)
        alike = not padded or not dims or (len(dims) == len(padded) and dims[2:] == padded[2:] and dims[0] <= padded[0])
        if found.op_type == operator and found.output[0] not in claimed and alike:
            return found
    return None


def _compute_above(tensor: str, original: Graph) -> Iterator[onnx.NodeProto]:
    """Convolutions and matrix products that reach a tensor through other operators only, nearest first."""
    waiting, seen = [tensor], set[str]()
    while waiting:
        name = waiting.pop(0)
        node = original.producers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type in COMPUTE:
            yield node
        else:
            waiting += node.input


def _channels(operator: str, dims: Shape, groups: int, in_shape: Shape, shape: Shape) -> tuple[int, int]:
    if operator == "Conv" and len(dims) > 2:
        return dims[1] * groups, dims[0]
    if operator == "ConvTranspose" and len(dims) > 2:
        return dims[0], dims[1] * groups
    if operator in ("Gemm", "MatMul"):
        return (in_shape[-1] if in_shape else 0), (shape[-1] if shape else 0)
    n_out = shape[1] if len(shape) > 1 else 0
    if operator in ELEMENTWISE or operator in POOLS:  # the input may lie in another order
        return n_out, n_out
    return (in_shape[1] if len(in_shape) > 2 else 0), n_out


def _flops(operator: str, dims: Shape, n_in: int, in_shape: Shape, shape: Shape, node: onnx.NodeProto | None) -> int:
    size, in_size = math.prod(shape), math.prod(in_shape)
    if operator == "Conv":
        return 2 * size * math.prod(dims[1:]) if dims else 0
    if operator == "ConvTranspose":
        return 2 * in_size * math.prod(dims[1:]) if dims else 0
    if operator in ("Gemm", "MatMul"):
        return 2 * size * n_in
    if operator in ("MaxPool", "AveragePool", "LpPool"):
        return size * int(np.prod(_attribute(node, "kernel_shape", (1,))))
    if operator in POOLS:
        return in_size
    return size if operator in ELEMENTWISE else 0


def _weight_bytes(node: onnx.NodeProto | None, optimised: Graph) -> int:
    constants = [optimised.constants[name] for name in node.input if name in optimised.constants] if node else []
    return sum(math.prod(one.dims) * onnx.helper.tensor_dtype_to_np_dtype(one.data_type).itemsize for one in constants)


def _precision(kinds: list[str], out_type: str) -> str:
    if any(kind in ("uint8", "int8") for kind in kinds):
        return "int8"
    return "float16" if "float16" in (*kinds, out_type) else "float32"


def _label(layer: onnx.NodeProto | None, tensor: str, name: str, original: Graph) -> str:
    """A layer's path in the torch module where the exporter's names show it, e.g. `blocks.0.conv1`."""
    weight = original.weight(layer).removesuffix("_quantized") if layer is not None else ""
    if weight.endswith(".weight"):
        return weight.removesuffix(".weight")
    options = [layer.name, layer.output[0]] if layer is not None else [tensor, name]
    chosen = next((option for option in options if "/" in option), name if layer is None else layer.name or name)
    parts = [part for part in _OUTPUT_ENDING.sub("", _TENSOR_ENDING.sub("", chosen)).split("/") if part]
    if len(parts) > 1:
        parts.pop()  # the operator within its module
    kept = [part for part, below in zip(parts, [*parts[1:], ""], strict=True) if not below.startswith(f"{part}.")]
    return ".".join(kept) or name


def _attribute(node: onnx.NodeProto | None, name: str, default: Any) -> Any:
    found = [one for one in node.attribute if one.name == name] if node is not None else []
    return onnx.helper.get_attribute_value(found[0]) if found else default
