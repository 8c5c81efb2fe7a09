"""What of a graph a compiler would leave out: branches that nobody reads, that add nothing, or that never change.

Only what is exact: a product with constant zeros is zero for every finite input; zero passes through pools, rectifiers
and convolutions without bias; a sum with zero of no larger shape is its other operand; what depends on no input can be
computed beforehand.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from latency_models.predict.graph import Graph, Node, Shape

KEEPS_ZERO = frozenset((
    "Relu", "LeakyRelu", "AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceSum",
    "Conv", "Identity", "Dropout", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Abs", "Neg",
    "HardSwish", "Tanh", "Elu", "Gelu", "Mul",
))  # fmt: skip
ALL_ZERO = frozenset(("Add", "Sub", "Sum", "Concat", "Max", "Min"))
PASSES_ON = frozenset(("Identity", "Dropout"))
ONLY_SHAPES = frozenset(("Shape", "Size"))


@dataclass(frozen=True)
class Parts:
    """The nodes of a graph by what a compiler does with them.

    Attributes:
        living: nodes that must run, reading what they really need.
        removed: nodes that need not run, reading what the file says.
        outputs: of the graph, by the names that living nodes give them.
        fixed: tensors that are the same for every input: constants and what is computed from them.
    """

    living: tuple[Node, ...]
    removed: tuple[Node, ...]
    outputs: tuple[str, ...]
    fixed: frozenset[str]


def parts_of(graph: Graph, shapes: Mapping[str, Shape]) -> Parts:
    """Divides a graph's nodes into those that must run and those that need not."""
    same_as: dict[str, str] = {}
    zero = {name for name, one in graph.constants.items() if one.values is not None and not one.values.any()}
    fixed = set(graph.constants)
    candidates: list[tuple[Node, Node]] = []
    for node in graph.nodes:
        read = tuple(same_as.get(name, name) for name in node.inputs)
        out = node.outputs[0]
        if _is_zero(node, read, zero):
            zero.add(out)
            fixed.update(node.outputs)
        elif node.operator in ONLY_SHAPES or all(name in fixed or not name for name in read):
            fixed.update(node.outputs)
        elif node.operator in PASSES_ON:
            same_as[out] = read[0]
        elif (kept := _other_operand(node, read, zero, shapes)) is not None:
            same_as[out] = kept
        else:
            candidates.append((Node(node.operator, read, node.outputs, node.attributes), node))
    outputs = tuple(same_as.get(name, name) for name in graph.outputs)
    wanted, living = set(outputs), []
    for seen, _ in reversed(candidates):
        if wanted.intersection(seen.outputs):
            living.append(seen)
            wanted.update(seen.inputs)
    living.reverse()
    alive = {node.outputs[0] for node in living}
    removed = tuple(
        node
        for node in graph.nodes
        if node.outputs[0] not in alive
        and node.operator not in PASSES_ON
        and not all(name in graph.constants for name in node.inputs if name)
    )
    return Parts(tuple(living), removed, outputs, frozenset(fixed))


def _is_zero(node: Node, read: tuple[str, ...], zero: set[str]) -> bool:
    if node.operator == "Mul":
        return any(name in zero for name in read)
    if node.operator == "Conv":  # a bias is added to it
        return read[0] in zero and (len(read) < 3 or not read[2] or read[2] in zero)
    if node.operator in KEEPS_ZERO:
        return read[0] in zero
    return node.operator in ALL_ZERO and all(name in zero for name in read)


def _other_operand(node: Node, read: tuple[str, ...], zero: set[str], shapes: Mapping[str, Shape]) -> str | None:
    """What a sum is equal to where all but one of its operands are zero."""
    if node.operator not in ("Add", "Sum"):
        return None
    left = [name for name in read if name not in zero]
    if len(left) != 1 or shapes[left[0]] != shapes[node.outputs[0]]:
        return None
    return left[0]
