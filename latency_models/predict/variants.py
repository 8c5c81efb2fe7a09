"""Networks of one topology that differ in widths: what a search proposes by the thousand.

A layer of the same shapes is described once and remembered, so that a network takes a fraction of a millisecond.
"""

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any, final

from latency_models.predict.graph import Graph, Shape
from latency_models.predict.kernels import Kernel, Network, kernel_of, longest, topology_of
from latency_models.predict.shapes import SAME, output_shapes, shapes_of


@final
class Variants:
    """Describes networks that have the nodes of one graph and constants of other shapes. Not for several threads.

    Args:
        graph: of one of the networks, e.g. the teacher's.

    Raises:
        Unknown, LatencyError: as `shapes_of`.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        shapes = shapes_of(graph)
        topology = topology_of(graph, shapes)
        self._base = {name: one.shape for name, one in graph.constants.items()} | dict(graph.inputs)
        self._n_operators = topology.n_operators
        self._same_as: dict[str, str] = {}
        for node in graph.nodes:
            if node.operator in SAME and len(node.outputs) == 1:
                self._same_as[node.outputs[0]] = self._root(node.inputs[0])
        steps = [node for node in graph.nodes if node.outputs[0] not in self._same_as]
        self._steps = [(node, self._getter(node.inputs), node.outputs) for node in steps]
        constants = frozenset(graph.constants)
        living = [(group, topology.fixed) for group in topology.living]
        self._groups = [(group, fixed, self._getter(group.tensors)) for group, fixed in living]
        self._removed = [(group, constants, self._getter(group.tensors)) for group in topology.removed]
        self._before = topology.before
        self._shapes: dict[tuple[int, Any], list[Shape]] = {}
        self._kernels: dict[tuple[int, Any], Kernel] = {}

    def network(self, shapes: Mapping[str, Shape]) -> Network:
        """The network whose constants have other shapes.

        Args:
            shapes: of the constants that differ, by name.

        Raises:
            LatencyError: they do not fit each other.
        """
        known = {**self._base, **shapes}
        for i, (node, read, names) in enumerate(self._steps):
            key = (i, read(known))
            found = self._shapes.get(key)
            if found is None:
                found = self._shapes[key] = output_shapes(node, self._graph, self._of(known, node.inputs))
            known.update(zip(names, found, strict=False))
        kernels = self._described(self._groups, 0, known)
        removed = self._described(self._removed, len(self._groups), known)
        return Network(kernels, removed, longest(kernels, self._before), self._n_operators)

    def _root(self, name: str) -> str:
        """The tensor whose shape this one has."""
        return self._same_as.get(name, name)

    def _of(self, known: Mapping[str, Shape], names: Iterable[str]) -> dict[str, Shape]:
        """Shapes of tensors, of those too that are not worked out as they repeat another's."""
        return {name: known[self._root(name)] for name in names if self._root(name) in known}

    def _getter(self, names: tuple[str, ...]) -> Callable[[Mapping[str, Shape]], Any]:
        """Shapes of tensors as one value that can be looked up."""
        present = tuple(dict.fromkeys(self._root(name) for name in names if name))
        return itemgetter(*present) if present else (lambda shapes: ())

    def _described(self, groups: list[Any], first: int, known: dict[str, Shape]) -> tuple[Kernel, ...]:
        kernels = []
        for i, (group, fixed, read) in enumerate(groups, first):
            key = (i, read(known))
            kernel = self._kernels.get(key)
            if kernel is None:
                kernel = self._kernels[key] = kernel_of(group, fixed, self._of(known, group.tensors))
            kernels.append(kernel)
        return tuple(kernels)
