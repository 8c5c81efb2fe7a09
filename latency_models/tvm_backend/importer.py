"""From an ONNX graph to a Relax function whose spatial layers keep their channels last from the start."""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from tvm import ir, relax

from latency_models.errors import LatencyError
from latency_models.target import Processor
from latency_models.tvm_backend.call import Call
from latency_models.tvm_backend.emitter import Emitter, Work
from latency_models.tvm_backend.graph import Array, Graph, Node
from latency_models.tvm_backend.operators import OPERATORS
from latency_models.tvm_backend.tensor import Tensor, Value

ENTRY = "main"
OPSET = 17
THROUGH = ("Identity", "Dropout")


@dataclass(frozen=True)
class Imported:
    """A network as TVM's operators, one function to each.

    Attributes:
        module: with `main`, whose parameters are the network's inputs in order.
        work: function name to what it does.
    """

    module: ir.IRModule
    work: dict[str, Work]


def imported(graph: Graph, processor: Processor) -> Imported:
    """Writes the graph with TVM's operators.

    Raises:
        LatencyError: an operator, or the way it is used, is not supported.
    """
    emitter = Emitter(processor)
    inputs = {given.name: emitter.parameter(given) for given in graph.inputs}
    readers = _readers(graph)
    values: dict[str, Value] = {**graph.constants, **inputs}
    builder = emitter.builder
    with builder.function(ENTRY, [tensor.expr for tensor in inputs.values()]):
        with builder.dataflow():
            for node in graph.nodes:
                values.update(zip(node.outputs, _evaluated(node, values, graph, readers, emitter), strict=False))
            results = [_result(values[name], name, emitter) for name in graph.outputs]
            output = builder.emit_output(results[0] if len(results) == 1 else relax.Tuple(results))
        builder.emit_func_output(output)
    return Imported(builder.get(), emitter.work)


def _evaluated(
    node: Node, values: dict[str, Value], graph: Graph, readers: dict[str, list[Node]], emitter: Emitter
) -> list[Value]:
    inputs = tuple(values[name] if name else None for name in node.inputs)
    if node.operator == "Shape" and inputs[0] is not None:
        shape = np.array(inputs[0].shape, np.int64)
        return [shape[node.attributes.get("start", 0) : node.attributes.get("end", len(shape))]]
    if not any(isinstance(value, Tensor) for value in inputs):
        return _folded(node, [value for value in inputs if not isinstance(value, Tensor)])
    function = OPERATORS.get(node.operator)
    if function is None:
        raise LatencyError(
            f"TVM cannot compile the operator {node.operator}, which makes {node.outputs[0]}.",
            "Time the network with ONNX Runtime (target `cpu`), or replace this layer in the teacher.",
        )
    exact = not node.outputs or any(name in graph.outputs for name in node.outputs)
    return function(Call(node, inputs, emitter, exact, _only_matrices(node, readers, graph)))


def _folded(node: Node, inputs: list[Array | None]) -> list[Value]:
    """What a node of constants alone comes to."""
    if node.operator == "Identity" and inputs[0] is not None:
        return [inputs[0]]
    if node.operator == "Constant":
        return [_constant(node)]
    names = [name for name, array in zip(node.inputs, inputs, strict=True) if array is not None]
    made = onnx.helper.make_node(
        node.operator, node.inputs, node.outputs,
        **{key: onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
           for key, value in node.attributes.items()},
    )  # fmt: skip
    infos = [onnx.helper.make_empty_tensor_value_info(name) for name in (*dict.fromkeys(names), *node.outputs)]
    n_inputs = len(infos) - len(node.outputs)
    graph = onnx.helper.make_graph([made], "folded", infos[:n_inputs], infos[n_inputs:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)])
    feed = {name: array for name, array in zip(node.inputs, inputs, strict=True) if array is not None}
    folded: list[Value] = [np.asarray(array) for array in ReferenceEvaluator(model).run(None, feed)]
    return folded


def _constant(node: Node) -> Array:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if name in node.attributes:
            dtype = None if name == "value" else np.float32 if "float" in name else np.int64
            return np.asarray(node.attributes[name], dtype)
    raise LatencyError(
        f"The constant {node.outputs[0]} is of a kind that TVM cannot compile.", "Export the student again."
    )


def _result(value: Value, name: str, emitter: Emitter) -> relax.Expr:
    if isinstance(value, Tensor):
        result = emitter.plain(value).expr
        if isinstance(result, relax.DataflowVar):
            return result
    raise LatencyError(f"The network's output {name} does not depend on its inputs.", "Check the teacher.")


def _readers(graph: Graph) -> dict[str, list[Node]]:
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    return readers


def _only_matrices(node: Node, readers: dict[str, list[Node]], graph: Graph) -> bool:
    """Whether all that reads the result is products with constant matrices."""
    name = node.outputs[0]
    if name in graph.outputs:
        return False
    for reader in readers.get(name, []):
        if reader.operator in THROUGH and _only_matrices(reader, readers, graph):
            continue
        weight = reader.inputs[1] if len(reader.inputs) > 1 else ""
        fits = (reader.operator == "Gemm" and not reader.attributes.get("transA", 0)) or reader.operator == "MatMul"
        if not (fits and reader.inputs[0] == name and weight in graph.constants):
            return False
    return True
