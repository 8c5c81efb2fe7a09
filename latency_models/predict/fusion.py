"""Operators that run as one kernel, as the common runtimes fuse them.

A convolution or matrix product takes the batch norm, activation and rounding behind it along, and the sum that it is
the last operand of; elementwise operators that follow each other are one kernel; what only renames (`Reshape`) is none.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from latency_models.predict.graph import Node
from latency_models.predict.shapes import BROADCAST, SAME

COMPUTE = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
POOLS = frozenset((
    "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "ReduceMean", "ReduceSum", "ReduceMax",
    "ReduceMin", "ReduceL2",
))  # fmt: skip
VIEWS = frozenset(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"))
ROUNDING = frozenset(("QuantizeLinear", "DequantizeLinear"))
NORMS = frozenset(("Softmax", "LogSoftmax", "LayerNormalization", "InstanceNormalization", "GroupNormalization"))
ELEMENTWISE = (SAME | BROADCAST) - NORMS - ROUNDING - VIEWS
GATES = frozenset(("Sigmoid", "HardSigmoid"))


@dataclass(frozen=True)
class Group:
    """The operators of one kernel.

    Attributes:
        main: the operator that it is named after.
        followers: what is fused behind it, in order.
        int8: whether it reads rounded values.
    """

    main: Node
    followers: tuple[Node, ...] = ()
    int8: bool = False

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All of its operators."""
        return (self.main, *self.followers)

    @property
    def tensors(self) -> tuple[str, ...]:
        """All that it reads and makes."""
        return tuple(dict.fromkeys(name for node in self.nodes for name in (*node.inputs, *node.outputs) if name))

    @property
    def output(self) -> str:
        """The tensor that it leaves in memory."""
        return self.nodes[-1].outputs[0]


@dataclass(frozen=True)
class _Flow:
    """Who reads and who makes each tensor; nodes by their position."""

    nodes: Sequence[Node]
    readers: dict[str, list[int]]
    makers: dict[str, int]
    kept: frozenset[str]

    def only_readers(self, tensor: str) -> list[int]:
        """All that read a tensor which nobody else needs; none where it leaves the graph."""
        return [] if tensor in self.kept else self.readers[tensor]


def fused(nodes: Sequence[Node], outputs: Sequence[str]) -> tuple[Group, ...]:
    """The kernels that nodes run as, in order.

    Args:
        nodes: in an order in which they can run.
        outputs: tensors that must lie in memory in the end.
    """
    readers: dict[str, list[int]] = defaultdict(list)
    for i, node in enumerate(nodes):
        for name in dict.fromkeys(node.inputs):
            readers[name].append(i)
    makers = {name: i for i, node in enumerate(nodes) for name in node.outputs}
    flow = _Flow(nodes, readers, makers, frozenset(outputs))
    taken: set[int] = set()
    groups = []
    for i, node in enumerate(nodes):
        if i in taken or node.operator in VIEWS or (node.operator == "DequantizeLinear" and _melts(i, flow)):
            continue
        followers = _followers(i, flow, taken)
        taken.update(followers)
        int8 = bool(node.inputs) and _is_rounded(node.inputs[0], flow)
        groups.append(Group(node, tuple(nodes[j] for j in followers), int8 and node.operator != "DequantizeLinear"))
    return tuple(groups)


def _followers(start: int, flow: _Flow, taken: set[int]) -> list[int]:
    """Positions of what runs within the kernel of a node."""
    operator = flow.nodes[start].operator
    if operator not in COMPUTE and operator not in POOLS and operator not in ELEMENTWISE:
        return []
    found: list[int] = []
    tensor, n_sums = flow.nodes[start].outputs[0], 0
    while True:
        behind = [i for i in flow.only_readers(tensor) if i not in taken]
        if len(behind) != len(flow.only_readers(tensor)):
            return found
        gate = _gate(behind, flow)
        if gate:
            found += gate
        elif len(behind) == 1 and flow.nodes[behind[0]].operator == "QuantizeLinear":
            return [*found, behind[0]]
        elif len(behind) == 1 and flow.nodes[behind[0]].operator in ELEMENTWISE:
            n_others = _n_others(behind[0], tensor, start, flow)
            if n_others is None or (operator in COMPUTE and n_sums + n_others > 1):
                return found
            n_sums += n_others
            found.append(behind[0])
        else:
            return found
        tensor = flow.nodes[found[-1]].outputs[0]


def _gate(behind: list[int], flow: _Flow) -> list[int]:
    """The two nodes of x * sigmoid(x), where they are all that reads x."""
    if len(behind) != 2:
        return []
    first, second = (flow.nodes[i] for i in behind)
    if first.operator in GATES and second.operator == "Mul" and first.outputs[0] in second.inputs:
        return behind if flow.only_readers(first.outputs[0]) == [behind[1]] else []
    return []


def _n_others(position: int, tensor: str, start: int, flow: _Flow) -> int | None:
    """How many operands of an elementwise node lie in memory beside `tensor`; None where one is not there yet."""
    n = 0
    for name in flow.nodes[position].inputs:
        if name == tensor or not name:
            continue
        maker = flow.makers.get(name)
        if maker is not None:
            if maker > start:
                return None
            n += 1
    return n


def _is_rounded(tensor: str, flow: _Flow) -> bool:
    maker = flow.makers.get(tensor)
    return maker is not None and flow.nodes[maker].operator == "DequantizeLinear"


def _melts(position: int, flow: _Flow) -> bool:
    """Whether a DequantizeLinear disappears into kernels that compute on rounded values."""
    node = flow.nodes[position]
    if node.inputs[0] not in flow.makers:  # weights
        return True
    return (
        all(_computes_rounded(i, flow) for i in flow.only_readers(node.outputs[0])) and node.outputs[0] not in flow.kept
    )


def _computes_rounded(position: int, flow: _Flow) -> bool:
    """Whether a node's result is rounded again, perhaps behind an activation, or is a product's."""
    node = flow.nodes[position]
    if node.operator in COMPUTE:
        return True
    for _ in range(3):
        behind = flow.only_readers(node.outputs[0])
        if len(behind) != 1:
            return False
        node = flow.nodes[behind[0]]
        if node.operator == "QuantizeLinear":
            return True
        if node.operator not in ELEMENTWISE:
            return False
    return False
