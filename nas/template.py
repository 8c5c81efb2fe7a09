"""The teacher's graph as a template: a student's ONNX file without tracing the student.

The teacher is traced once, with marks where each of its modules begins and ends. What a recipe changes shows in the
student's modules: one that is an Identity now was dropped, a layer that is a sequence now was factorised, all others
have other weights. Whoever uses this checks the file against the module: a forward pass that computes with widths
gives another graph for other widths, which a template cannot know.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from nas.graph_edits import Array, fold_batch_norms, remove_unused
from nas.trace import onnx_bytes

DOMAIN = "understudy"
BEGINS, ENDS = "begins", "ends"


class Mark(torch.autograd.Function):
    """Passes a tensor on, and is a node of its own in the traced graph."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, path: str, side: str) -> Tensor:
        """The tensor itself."""
        return tensor.clone()

    @staticmethod
    def symbolic(graph: Any, tensor: Any, path: str, side: str) -> Any:
        """The node."""
        return graph.op(f"{DOMAIN}::Mark", tensor, path_s=path, side_s=side).setType(tensor.type())


def _marked(tensor: Tensor, path: str, side: str) -> Tensor:
    marked: Tensor = Mark.apply(tensor, path, side)  # type: ignore[no-untyped-call]
    return marked


@dataclass(frozen=True, eq=False)
class Template:
    """Made by `template_of`.

    Attributes:
        model: the teacher's graph, batch norms unfolded, marks in it, weights under their names in the module.
        kinds: module path to its class, of every module of the teacher.
    """

    model: onnx.ModelProto
    kinds: dict[str, type[nn.Module]]


def template_of(teacher: nn.Module, example: tuple[Tensor, ...]) -> Template:
    """Traces the teacher once.

    Args:
        teacher: in eval mode; not modified.
        example: at least one sample of each input.

    Raises:
        RuntimeError: it cannot be traced.
    """
    marked = copy.deepcopy(teacher)
    for path, module in list(marked.named_modules()):
        if path:
            module.register_forward_pre_hook(_begin(path))
            module.register_forward_hook(_end(path))
    model = onnx.load_from_string(onnx_bytes(marked, example, DOMAIN))
    del model.graph.value_info[:]
    _part_equal_weights(model.graph, teacher.state_dict())
    return Template(model, {path: type(module) for path, module in teacher.named_modules()})


def _part_equal_weights(graph: onnx.GraphProto, weights: Mapping[str, Tensor]) -> None:
    """Gives each weight a constant of its own: the exporter writes weights that happen to be equal once."""
    shared = [node for node in graph.node if node.op_type == "Identity" and node.output[0] in weights]
    for node in shared:
        graph.initializer.append(numpy_helper.from_array(weights[node.output[0]].numpy(), node.output[0]))
        graph.node.remove(node)


def _begin(path: str) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...] | None]:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args or not isinstance(args[0], Tensor):
            return None
        return (_marked(args[0], path, BEGINS), *args[1:])

    return hook


def _end(path: str) -> Callable[[nn.Module, tuple[Any, ...], Any], Tensor | None]:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor | None:
        return _marked(output, path, ENDS) if isinstance(output, Tensor) else None

    return hook


def filled(template: Template, student: nn.Module) -> bytes | None:
    """The student's ONNX file, batch norms folded into convolutions, or None where the template does not fit it."""
    model = onnx.ModelProto()
    model.CopyFrom(template.model)
    weights = {name: tensor.detach().numpy() for name, tensor in student.state_dict().items()}
    modules = dict(student.named_modules())
    if not _replace_modules(model.graph, template, modules, weights):
        return None
    _remove_marks(model.graph)
    remove_unused(model.graph)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays = {name: weights[name] for name in constants if name in weights}
    if any(name not in arrays and "." in name and name.rpartition(".")[0] in template.kinds for name in constants):
        return None  # a weight of the teacher that the student does not have
    for node in model.graph.node:
        _set_attributes(node, modules)
    fold_batch_norms(model.graph, arrays)
    kept = [tensor for name, tensor in constants.items() if name not in weights]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.initializer.extend(numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in arrays.items())
    remove_unused(model.graph)
    opsets = [opset for opset in model.opset_import if opset.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    content: bytes = model.SerializeToString()
    return content


def _replace_modules(
    graph: onnx.GraphProto, template: Template, modules: dict[str, nn.Module], weights: dict[str, Array]
) -> bool:
    """Puts in place of each module of another class what the student has there; whether that is all understood."""
    marks: dict[tuple[str, str], list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type == "Mark":
            marks.setdefault(_place(node), []).append(node)
    for path, kind in template.kinds.items():
        module = modules.get(path)
        if module is None or type(module) is kind:
            continue  # gone with a block that holds it, or as it was
        begins, ends = marks.get((path, BEGINS), []), marks.get((path, ENDS), [])
        if len(begins) != 1 or len(ends) != 1:
            return False
        layers = [] if isinstance(module, nn.Identity) else _factors(path, module)
        if layers is None:
            return False
        value = begins[0].input[0]
        for name, layer in layers:
            node = _node_of(name, layer, value)
            graph.node.append(node)
            graph.initializer.extend(numpy_helper.from_array(weights[full], full) for full in node.input[1:])
            value = node.output[0]
        ends[0].input[0] = value
    return True


def _place(mark: onnx.NodeProto) -> tuple[str, str]:
    values = {attribute.name: attribute.s.decode() for attribute in mark.attribute}
    return values["path"], values["side"]


def _factors(path: str, module: nn.Module) -> list[tuple[str, nn.Module]] | None:
    """The layers of a plain sequence of convolutions and linear layers on matrices."""
    if type(module) is not nn.Sequential:
        return None
    layers = [(f"{path}.{name}", layer) for name, layer in module.named_children()]
    known = all(
        type(layer) is nn.Linear
        or (type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str))
        for _, layer in layers
    )
    return layers if known else None


def _node_of(name: str, layer: nn.Module, value: str) -> onnx.NodeProto:
    inputs = [value, f"{name}.weight"] + ([f"{name}.bias"] if layer.bias is not None else [])
    if isinstance(layer, nn.Linear):
        return helper.make_node("Gemm", inputs, [f"{name} out"], name=name, transB=1)
    assert isinstance(layer, nn.Conv2d)
    assert not isinstance(layer.padding, str)
    return helper.make_node(
        "Conv",
        inputs,
        [f"{name} out"],
        name=name,
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride),
        pads=[*layer.padding, *layer.padding],
        dilations=list(layer.dilation),
        group=layer.groups,
    )


def _remove_marks(graph: onnx.GraphProto) -> None:
    """Lets readers of a mark read what it passes on; a mark at the network's output leaves its name to the producer."""
    passed = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Mark"}

    def source(name: str) -> str:
        while name in passed:
            name = passed[name]
        return name

    kept = [node for node in graph.node if node.op_type != "Mark"]
    names = {source(value.name): value.name for value in graph.output}
    inputs = {value.name for value in graph.input}
    for node in kept:
        for i, name in enumerate(node.input):
            node.input[i] = names.get(source(name), source(name))
        for i, name in enumerate(node.output):
            node.output[i] = names.get(name, name)
    for origin, name in names.items():
        if origin in inputs:
            kept.append(helper.make_node("Identity", [origin], [name]))
    del graph.node[:]
    graph.node.extend(kept)


def _set_attributes(node: onnx.NodeProto, modules: dict[str, nn.Module]) -> None:
    """A convolution's groups follow its width, and its stride may be a choice."""
    layer = modules.get(node.input[1].removesuffix(".weight")) if len(node.input) > 1 else None
    if node.op_type != "Conv" or not isinstance(layer, nn.Conv1d | nn.Conv2d):
        return
    of_layer = {"kernel_shape": layer.kernel_size, "strides": layer.stride, "dilations": layer.dilation}
    if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        of_layer["pads"] = (*layer.padding, *layer.padding)
    for attribute in node.attribute:
        if attribute.name == "group":
            attribute.i = layer.groups
        elif attribute.name in of_layer:
            attribute.ints[:] = of_layer[attribute.name]
