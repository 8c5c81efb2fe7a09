"""Files made from the teacher's graph compute what the student's module computes, or are not made."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import nas.export as export
from nas.export import export_artifact, feed, parity, teacher_template
from nas.template import Template, filled
from nas.trace import input_names, onnx_bytes
from search_spaces.recipe import Recipe
from search_spaces.transform import Student
from tests.search_spaces.networks import build
from tests.search_spaces.spaces import space_of

FIT = ("resnet", "densenet", "mobilenet", "grouped", "flattened", "conv1d", "two_inputs", "upsampling", "tied")


def template_and_inputs(name: str) -> tuple[Template, tuple[Tensor, ...]]:
    teacher, inputs = build(name)
    template = teacher_template(teacher, inputs)
    assert template is not None
    return template, inputs


def answer(content: bytes, inputs: tuple[Tensor, ...]) -> NDArray[np.float32]:
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    values: NDArray[np.float32] = session.run(None, feed(inputs))[0]
    return values


@pytest.mark.parametrize("name", FIT)
def test_random_students_of_every_kind(name: str) -> None:
    template, inputs = template_and_inputs(name)
    space, generator = space_of(name), np.random.default_rng(3)
    for recipe in (Recipe(), *(space.sample(generator) for _ in range(4))):
        student = space.build(recipe, repair=False).module
        content = filled(template, student)
        assert content is not None, recipe
        onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
        with torch.no_grad():
            wanted = student(*inputs).numpy()
        np.testing.assert_allclose(answer(content, inputs), wanted, atol=1e-5 * np.abs(wanted).max())
        first = tuple(tensor[:1] for tensor in inputs)
        assert answer(content, first).shape == wanted[:1].shape


def test_batch_norms_are_folded_and_dropped_blocks_are_gone() -> None:
    template, inputs = template_and_inputs("resnet")
    student = space_of("resnet").build(Recipe.of({"depth:block1": "drop"}))
    content = filled(template, student.module)
    assert content is not None
    ours, traced = onnx.load_from_string(content), onnx.load_from_string(onnx_bytes(student.module, inputs))
    kinds = [sorted(node.op_type for node in model.graph.node) for model in (ours, traced)]
    assert kinds[0] == kinds[1]
    assert "BatchNormalization" not in kinds[0]
    assert not any("block1" in tensor.name for tensor in ours.graph.initializer)
    assert [opset.domain for opset in ours.opset_import] == [""]
    assert [value.name for value in ours.graph.input] == input_names(1)


def test_the_same_student_gives_the_same_file() -> None:
    template, _ = template_and_inputs("resnet")
    module = space_of("resnet").build(Recipe()).module
    assert filled(template, module) == filled(template, module)


class Scaled(nn.Module):
    """Divides by its own width, which the tracer writes into the graph as a number."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x))
        logits: Tensor = self.head(hidden / self.first.out_features)
        return logits


def test_a_graph_that_depends_on_the_width_is_traced_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    teacher, narrow, inputs = Scaled().eval(), Scaled().eval(), (torch.randn(16, 4),)
    narrow.first, narrow.head = nn.Linear(4, 8), nn.Linear(8, 3)
    template = teacher_template(teacher, inputs)
    assert template is not None
    traced = list[nn.Module]()
    trace = export.onnx_bytes

    def watched(module: nn.Module, example: tuple[Tensor, ...]) -> bytes:
        traced.append(module)
        return trace(module, example)

    monkeypatch.setattr(export, "onnx_bytes", watched)
    for module in (teacher, narrow):
        student = Student(module.requires_grad_(False))
        artifact = export_artifact(student, inputs, inputs, tmp_path / "a.onnx", template)
        assert parity(artifact, student, inputs) < 1e-5
    assert traced == [narrow]


def test_a_module_that_is_not_understood_is_left_to_the_tracer() -> None:
    template, _ = template_and_inputs("resnet")
    module = space_of("resnet").build(Recipe()).module
    module.get_submodule("block1").add_module("conv1", nn.Sequential(nn.ReLU(), nn.Conv2d(16, 24, 3, padding=1)))
    assert filled(template, module) is None
