"""The shape of every tensor of a graph, by rules for the operators that matter and ONNX's inference for the rest."""

import math
from collections.abc import Callable

from latency_models.errors import LatencyError
from latency_models.predict.graph import Graph, Node, Shape

SAME = frozenset((
    "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Selu", "Gelu", "Erf",
    "Exp", "Log", "Sqrt", "Neg", "Abs", "Identity", "Dropout", "Cast", "Softmax", "LogSoftmax", "BatchNormalization",
    "InstanceNormalization", "LayerNormalization", "GroupNormalization", "QuantizeLinear", "DequantizeLinear",
    "Softplus", "Mish", "Floor", "Ceil", "Round", "Reciprocal", "Celu", "Not", "Sin", "Cos",
))  # fmt: skip
BROADCAST = frozenset((
    "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Equal", "Greater", "Less", "And", "Or", "Mod",
))  # fmt: skip
REDUCE = frozenset(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"))


class Unknown(Exception):
    """No rule gives the shape of this operator's outputs."""


def shapes_of(graph: Graph) -> dict[str, Shape]:
    """Name to shape of every tensor.

    Raises:
        Unknown: an operator has no rule, and the graph carries no shape for it.
        LatencyError: shapes do not fit each other.
    """
    shapes = {name: constant.shape for name, constant in graph.constants.items()}
    shapes.update(graph.inputs)
    for node in graph.nodes:
        shapes.update(zip(node.outputs, output_shapes(node, graph, shapes), strict=False))
    return shapes


def output_shapes(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    """Shapes of a node's outputs, from those of its inputs.

    Raises:
        Unknown, LatencyError: as `shapes_of`.
    """
    try:
        return _outputs(node, graph, shapes)
    except Unknown:
        if any(name and name not in graph.known_shapes for name in node.outputs):
            raise
        return [graph.known_shapes.get(name, ()) for name in node.outputs]
    except (IndexError, KeyError, ValueError, ZeroDivisionError) as error:
        raise LatencyError(
            f"The shapes of the network's {node.operator} {node.outputs[0]!r} do not fit: {error!r}",
            "Export the network again, and check it with onnx.checker.",
        ) from error


def _outputs(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    operator = node.operator
    if operator in SAME:
        return [shapes[node.inputs[0]]] * len(node.outputs)
    if operator in BROADCAST:
        return [broadcast([shapes[name] for name in node.inputs])]
    rule = _RULES.get(operator)
    if rule is None:
        raise Unknown(operator)
    return rule(node, graph, shapes)


def broadcast(shapes: list[Shape]) -> Shape:
    """The shape of an elementwise operator's output."""
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    n_axes = max(len(shape) for shape in shapes)
    padded = [(1,) * (n_axes - len(shape)) + shape for shape in shapes]
    return tuple(max(sizes) for sizes in zip(*padded, strict=True))


def integers(graph: Graph, node: Node, position: int, attribute: str) -> list[int] | None:
    """A list of numbers that older operator sets keep as an attribute and newer ones as an input; None if left out.

    Raises:
        Unknown: the input is computed.
    """
    if attribute in node.attributes:
        return [int(value) for value in node.attributes[attribute]]
    if len(node.inputs) <= position or not node.inputs[position]:
        return None
    constant = graph.constants.get(node.inputs[position])
    if constant is None or constant.values is None:
        raise Unknown(node.operator)
    return [int(value) for value in constant.values.reshape(-1)]


def _windowed(size: int, axis: int, node: Node, window: int) -> int:
    """Positions along one axis of a convolution or pool (ONNX operator specification, Conv and MaxPool)."""
    attributes = node.attributes
    stride = attributes["strides"][axis] if "strides" in attributes else 1
    dilation = attributes["dilations"][axis] if "dilations" in attributes else 1
    if attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        return -(-size // stride)
    pads = attributes.get("pads")
    padding = pads[axis] + pads[axis + len(pads) // 2] if pads else 0
    free = size + padding - dilation * (window - 1) - 1
    return (-(-free // stride) if attributes.get("ceil_mode") else free // stride) + 1


def _conv(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    x, weight = shapes[node.inputs[0]], shapes[node.inputs[1]]
    spatial = (_windowed(size, i, node, weight[2 + i]) for i, size in enumerate(x[2:]))
    return [(x[0], weight[0], *spatial)]


def _conv_transpose(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    x, weight = shapes[node.inputs[0]], shapes[node.inputs[1]]
    n = len(x) - 2
    strides, pads = node.attributes.get("strides", [1] * n), node.attributes.get("pads", [0] * 2 * n)
    extra = node.attributes.get("output_padding", [0] * n)
    sizes = ((x[2 + i] - 1) * strides[i] + weight[2 + i] - pads[i] - pads[i + n] + extra[i] for i in range(n))
    return [(x[0], weight[1] * node.attributes.get("group", 1), *sizes)]


def _pool(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    x, window = shapes[node.inputs[0]], node.attributes["kernel_shape"]
    return [(*x[:2], *(_windowed(size, i, node, window[i]) for i, size in enumerate(x[2:])))] * len(node.outputs)


def _global_pool(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    x = shapes[node.inputs[0]]
    return [(*x[:2], *(1 for _ in x[2:]))]


def _gemm(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    a, b = shapes[node.inputs[0]], shapes[node.inputs[1]]
    rows = a[1] if node.attributes.get("transA") else a[0]
    return [(rows, b[0] if node.attributes.get("transB") else b[1])]


def _matmul(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    a, b = shapes[node.inputs[0]], shapes[node.inputs[1]]
    if len(a) < 2 or len(b) < 2:
        raise Unknown(node.operator)
    return [(*broadcast([a[:-2], b[:-2]]), a[-2], b[-1])]


def _flatten(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    x, axis = shapes[node.inputs[0]], node.attributes.get("axis", 1)
    return [(math.prod(x[:axis]), math.prod(x[axis:]))]


def _reshape(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    x, wanted = shapes[node.inputs[0]], integers(graph, node, 1, "shape")
    if wanted is None:
        raise Unknown(node.operator)
    sizes = [x[i] if size == 0 else size for i, size in enumerate(wanted)]
    known = math.prod(size for size in sizes if size != -1)
    return [tuple(math.prod(x) // known if size == -1 else size for size in sizes)]


def _transpose(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    x = shapes[node.inputs[0]]
    return [tuple(x[axis] for axis in node.attributes.get("perm", range(len(x) - 1, -1, -1)))]


def _concat(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    parts, axis = [shapes[name] for name in node.inputs], node.attributes["axis"]
    out = list(parts[0])
    out[axis] = sum(part[axis] for part in parts)
    return [tuple(out)]


def _squeeze(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    x, axes = shapes[node.inputs[0]], integers(graph, node, 1, "axes")
    gone = {axis % len(x) for axis in axes} if axes is not None else {i for i, size in enumerate(x) if size == 1}
    return [tuple(size for i, size in enumerate(x) if i not in gone)]


def _unsqueeze(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    x, axes = shapes[node.inputs[0]], integers(graph, node, 1, "axes") or []
    n_axes, sizes = len(x) + len(axes), iter(x)
    added = {axis % n_axes for axis in axes}
    return [tuple(1 if i in added else next(sizes) for i in range(n_axes))]


def _reduce(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    x, axes = shapes[node.inputs[0]], integers(graph, node, 1, "axes")
    gone = set(range(len(x))) if not axes else {axis % len(x) for axis in axes}
    if node.attributes.get("keepdims", 1):
        return [tuple(1 if i in gone else size for i, size in enumerate(x))]
    return [tuple(size for i, size in enumerate(x) if i not in gone)]


def _pad(node: Node, graph: Graph, shapes: dict[str, Shape]) -> list[Shape]:
    x, pads = shapes[node.inputs[0]], integers(graph, node, 1, "pads")
    if pads is None or len(pads) != 2 * len(x):
        raise Unknown(node.operator)
    return [tuple(size + pads[i] + pads[i + len(x)] for i, size in enumerate(x))]


_RULES: dict[str, Callable[[Node, Graph, dict[str, Shape]], list[Shape]]] = {
    "Conv": _conv, "ConvTranspose": _conv_transpose, "MaxPool": _pool, "AveragePool": _pool, "LpPool": _pool,
    "GlobalAveragePool": _global_pool, "GlobalMaxPool": _global_pool, "Gemm": _gemm, "MatMul": _matmul,
    "Flatten": _flatten, "Reshape": _reshape, "Transpose": _transpose, "Concat": _concat, "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze, "Pad": _pad, **dict.fromkeys(REDUCE, _reduce),
}  # fmt: skip
