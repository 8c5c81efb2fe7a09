"""The layers of an exported network that read its inputs themselves."""

from collections import Counter
from collections.abc import Collection

import onnx

CLAMPS = ("Relu", "Clip", "LeakyRelu")


def first_layers(model: onnx.ModelProto, compute: Collection[str]) -> list[str]:
    """Names of the nodes that compute on nothing but inputs, with the clamps that read them alone.

    Empty where nothing would be left behind them.

    Args:
        model: its nodes in order of execution and with names.
        compute: operators that count as computing, e.g. `Conv`.
    """
    constants = {tensor.name for tensor in model.graph.initializer} | {""}
    untouched = {value.name for value in model.graph.input} - constants
    n_readers = Counter(name for node in model.graph.node for name in node.input)
    found: list[str] = []
    written: set[str] = set()
    n_behind = 0
    for node in model.graph.node:
        read = set(node.input) - constants
        computes, reads_inputs = node.op_type in compute, bool(read) and read <= untouched
        if computes and reads_inputs:
            found.append(node.name)
            written.update(node.output)
        elif computes:
            n_behind += 1
        elif node.op_type in CLAMPS and node.input[0] in written and n_readers[node.input[0]] == 1:
            found.append(node.name)
        elif reads_inputs:
            untouched.update(node.output)
        elif not read:
            constants.update(node.output)
    return found if n_behind else []
