"""What each kernel of a network computes, known from the file alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import onnx

from latency_models.artifact import Artifact
from latency_models.errors import LatencyError
from latency_models.predict.fusion import COMPUTE, VIEWS, Group, fused
from latency_models.predict.graph import Graph, Node, Shape, graph_of, with_inferred_shapes
from latency_models.predict.living import parts_of
from latency_models.predict.shapes import Unknown, shapes_of


class Kernel(NamedTuple):
    """A kernel without a clock: what `KernelTime` knows of it, and no seconds. A tuple, as millions are hashed.

    Attributes:
        operator: of the kernel's main work in ONNX's words: `Conv`, `Gemm`, `MaxPool`, `Add` ...
        n_in, n_out: channels (features of a matrix product).
        groups: of a convolution.
        window: rows and columns of its weights or of a pool; (1, 1) of others.
        stride: the larger one.
        size: of the output without batch and channels, (height, width); (rows, 1) of a matrix product.
        precision: `float32`, `int8`.
        followers: operators that are fused behind it, in order.
        n_macs: multiply-accumulates; 0 of what has none.
        in_elements, out_elements: of activations read and written.
        weight_elements: of constants read.
    """

    operator: str
    n_in: int
    n_out: int
    groups: int
    window: tuple[int, int]
    stride: int
    size: tuple[int, int]
    precision: str
    followers: tuple[str, ...]
    n_macs: int
    in_elements: int
    out_elements: int
    weight_elements: int

    @property
    def n_bytes(self) -> int:
        """Of activations and weights, each counted once."""
        width = 1 if self.precision == "int8" else 4
        return (self.in_elements + self.out_elements + self.weight_elements) * width


def kernel_from_json(values: Sequence[Any]) -> Kernel:
    """Inverse of `list(kernel)`; fields that are tuples come from JSON as lists."""
    return Kernel._make(tuple(value) if isinstance(value, list) else value for value in values)


@final
@dataclass(frozen=True)
class Network:
    """A network as its kernels.

    Attributes:
        kernels: what must run.
        removed: what the file holds beside and a compiler leaves out; a runtime that compiles nothing runs it too.
        longest: of what lies on one path from an input to an output at the most: kernels, kernels with a window, and
            multiply-accumulates. A runtime that works on several branches at a time waits for these.
        n_operators: that a runtime launches which fuses nothing.
    """

    kernels: tuple[Kernel, ...]
    removed: tuple[Kernel, ...] = ()
    longest: tuple[int, int, int] = (0, 0, 0)
    n_operators: int = 0


@final
@dataclass(frozen=True)
class Topology:
    """How the operators of a graph are fused, which holds for all widths: networks of one topology share it.

    Attributes:
        living, removed: kernels that must run, and that need not.
        before: of each living kernel the numbers of those whose outputs it reads.
        fixed: tensors that depend on no input.
        n_operators: as in `Network`.
    """

    living: tuple[Group, ...]
    removed: tuple[Group, ...]
    before: tuple[tuple[int, ...], ...]
    fixed: frozenset[str]
    n_operators: int


def network_of(source: Artifact | Path | bytes | onnx.ModelProto) -> Network:
    """The kernels of a model.

    Raises:
        LatencyError: it cannot be read, or its shapes cannot be found.
    """
    graph = graph_of(source)
    try:
        shapes = shapes_of(graph)
    except Unknown:
        model = source if isinstance(source, onnx.ModelProto) else onnx.load_from_string(_content(source))
        graph = with_inferred_shapes(model)
        try:
            shapes = shapes_of(graph)
        except Unknown as unknown:
            raise LatencyError(
                f"Nothing says what shape the network's {unknown} has, so its latency cannot be predicted.",
                "Measure it, or export the network with fixed input shapes.",
            ) from unknown
    return described(topology_of(graph, shapes), graph, shapes)


def topology_of(graph: Graph, shapes: Mapping[str, Shape]) -> Topology:
    """What of a graph runs, and as which kernels."""
    parts = parts_of(graph, shapes)
    living = fused(parts.living, parts.outputs)
    n_operators = sum(
        node.operator not in VIEWS and not all(name in graph.constants for name in node.inputs if name)
        for node in graph.nodes
    )
    return Topology(living, fused(parts.removed, ()), _before(living, parts.living), parts.fixed, n_operators)


def described(topology: Topology, graph: Graph, shapes: Mapping[str, Shape]) -> Network:
    """The kernels of one network of a topology.

    Args:
        topology: of this graph, or of one that differs only in shapes.
        graph: whose constants tell weights from activations.
        shapes: of all tensors, from `shapes_of`.
    """
    kernels = tuple(kernel_of(group, topology.fixed, shapes) for group in topology.living)
    constants = frozenset(graph.constants)
    return Network(
        kernels,
        tuple(kernel_of(group, constants, shapes) for group in topology.removed),
        longest(kernels, topology.before),
        topology.n_operators,
    )


def _content(source: Artifact | Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    return source.read() if isinstance(source, Artifact) else source.read_bytes()


def kernel_of(group: Group, fixed: frozenset[str], shapes: Mapping[str, Shape]) -> Kernel:
    """What a group of operators computes.

    Args:
        group: the operators.
        fixed: tensors that depend on no input.
        shapes: of all tensors.
    """
    main = group.main
    out = shapes[main.outputs[0]]
    first = shapes[main.inputs[0]] if main.inputs and main.inputs[0] else ()
    weight = shapes[main.inputs[1]] if main.operator in COMPUTE and len(main.inputs) > 1 else ()
    groups = _groups(main, first, weight)
    n_in, n_out, n_macs = _work(main, first, weight, out, groups)
    inside = {name for node in group.nodes for name in node.outputs}
    read = {name for node in group.nodes for name in node.inputs if name and name not in inside}
    return Kernel(
        operator=main.operator,
        n_in=n_in,
        n_out=n_out,
        groups=groups,
        window=_window(main, weight),
        stride=int(max(main.attributes.get("strides", (1,)))),
        size=_size(main, out),
        precision="int8" if group.int8 else "float32",
        followers=tuple(node.operator for node in group.followers),
        n_macs=n_macs,
        in_elements=sum(math.prod(shapes[name]) for name in read if name not in fixed),
        out_elements=math.prod(shapes[group.output]),
        weight_elements=sum(math.prod(shapes[name]) for name in read if name in fixed),
    )


def _groups(main: Node, first: Shape, weight: Shape) -> int:
    """By the shapes, as the attribute of a topology is that of its first network."""
    if main.operator == "Conv":
        return max(1, first[1] // weight[1])
    return int(main.attributes.get("group", 1))


def _work(main: Node, first: Shape, weight: Shape, out: Shape, groups: int) -> tuple[int, int, int]:
    """Channels in and out, and multiply-accumulates."""
    if main.operator == "Conv":
        return weight[1] * groups, weight[0], math.prod(out) * math.prod(weight[1:])
    if main.operator == "ConvTranspose":
        return weight[0], weight[1] * groups, math.prod(first) * math.prod(weight[1:])
    if main.operator in COMPUTE:
        n_in = first[0] if main.attributes.get("transA") else first[-1]
        return n_in, out[-1], math.prod(out) * n_in
    axis = 1 if len(out) > 2 else -1
    return (first[axis] if len(first) > 1 else 1), (out[axis] if out else 1), 0


def _window(main: Node, weight: Shape) -> tuple[int, int]:
    if main.operator in ("Conv", "ConvTranspose"):
        return (weight[2], weight[3] if len(weight) > 3 else 1)
    window = main.attributes.get("kernel_shape", (1, 1))
    return (int(window[0]), int(window[1]) if len(window) > 1 else 1)


def _size(main: Node, out: Shape) -> tuple[int, int]:
    if main.operator in ("Gemm", "MatMul"):
        return (math.prod(out[:-1]), 1)
    if len(out) > 2:
        return (out[2], math.prod(out[3:]))
    return (1, 1)


def longest(kernels: Sequence[Kernel], before: Sequence[tuple[int, ...]]) -> tuple[int, int, int]:
    """As in `Network`.

    Args:
        kernels: in order.
        before: of each the numbers of those that it waits for.
    """
    calls, windows = [1] * len(kernels), [int(kernel.window != (1, 1)) for kernel in kernels]
    return (
        _longest_path(calls, before),
        _longest_path(windows, before),
        _longest_path([kernel.n_macs for kernel in kernels], before),
    )


def _longest_path(values: Sequence[int], before: Sequence[tuple[int, ...]]) -> int:
    """The largest sum of values along a path; 0 where there are none. Arguments as for `longest`."""
    totals: list[int] = []
    for value, waits in zip(values, before, strict=True):
        if len(waits) == 1:  # mostly
            totals.append(value + totals[waits[0]])
        else:
            totals.append(value + max([totals[j] for j in waits], default=0))
    return max(totals, default=0)


def _before(groups: Sequence[Group], nodes: Sequence[Node]) -> tuple[tuple[int, ...], ...]:
    """Of each group the numbers of those that it reads from, seen through what is no kernel."""
    number = {name: i for i, group in enumerate(groups) for node in group.nodes for name in node.outputs}
    sources: dict[str, frozenset[int]] = {}
    for node in nodes:
        for name in node.outputs:
            own = number.get(name)
            read = (sources.get(one, frozenset()) for one in node.inputs)
            sources[name] = frozenset((own,)) if own is not None else frozenset[int]().union(*read)
    waits = []
    for i, group in enumerate(groups):
        read_from = {j for node in group.nodes for name in node.inputs for j in sources.get(name, ())}
        waits.append(tuple(sorted(read_from - {i})))
    return tuple(waits)
