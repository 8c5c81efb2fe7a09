"""Edits of ONNX graphs in memory: what no output needs, and batch norms."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

Array = NDArray[np.generic]


def remove_unused(graph: onnx.GraphProto) -> None:
    """Drops what no output needs and puts the nodes in the order in which they run."""
    producers = {name: node for node in graph.node for name in node.output if name}
    order: dict[str, onnx.NodeProto] = {}
    stack = [value.name for value in graph.output]
    while stack:
        node = producers.get(stack[-1])
        waiting = [] if node is None else [name for name in node.input if name in producers and name not in order]
        if waiting and stack[-1] not in order:
            stack += waiting
            continue
        name = stack.pop()
        if node is not None and name not in order:
            order |= dict.fromkeys(node.output, node)
    nodes = list({id(node): node for node in order.values()}.values())
    read = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    _replace(graph.node, nodes)
    _replace(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in read])


def _replace(field: Any, values: Sequence[Any]) -> None:
    """Sets a repeated field to some of its own values."""
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)


def fold_batch_norms(graph: onnx.GraphProto, arrays: dict[str, Array]) -> None:
    """Folds each batch norm that alone reads a convolution into it (Jacob et al. 2018, section 3.2).

    Args:
        graph: changed in place.
        arrays: constants by name; the folded weights and biases are put in.
    """
    producers = {node.output[0]: node for node in graph.node}
    n_readers: dict[str, int] = {value.name: 1 for value in graph.output}
    for node in graph.node:
        for name in node.input:
            n_readers[name] = n_readers.get(name, 0) + 1
    folded = []
    for norm in graph.node:
        if norm.op_type != "BatchNormalization" or any(name not in arrays for name in norm.input[1:]):
            continue
        conv = producers.get(norm.input[0])
        if conv is None or conv.op_type != "Conv" or n_readers[norm.input[0]] != 1:
            continue
        weight, bias = conv.input[1], conv.input[2] if len(conv.input) > 2 else ""
        if weight not in arrays or n_readers[weight] != 1 or (bias and (bias not in arrays or n_readers[bias] != 1)):
            continue
        gamma, beta, mean, variance = (arrays[name].astype(np.float64) for name in norm.input[1:])
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        scale = gamma / np.sqrt(variance + epsilon)
        whole = arrays[weight].astype(np.float64) * scale.reshape(-1, *[1] * (arrays[weight].ndim - 1))
        shift = beta + ((arrays[bias].astype(np.float64) if bias else 0.0) - mean) * scale
        arrays[weight] = whole.astype(np.float32)
        new_bias = bias or weight.removesuffix("weight") + "bias"
        arrays[new_bias] = shift.astype(np.float32)
        del conv.input[2:]
        conv.input.append(new_bias)
        conv.output[0] = norm.output[0]
        folded.append(norm)
    for norm in folded:
        graph.node.remove(norm)
