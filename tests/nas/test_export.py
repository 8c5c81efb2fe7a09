"""Files of students: each is held against the module that it came from."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn

from latency_models.artifact import Artifact
from nas.errors import UserError
from nas.export import (
    export_artifact,
    feed,
    load_student,
    parity,
    run_artifact,
    save_pt2,
    save_student,
)
from search_spaces.recipe import Choice, Recipe
from search_spaces.space import SearchSpace
from search_spaces.transform import Student
from tests.nas import tiny
from tests.search_spaces.networks import build
from tests.search_spaces.spaces import space_of


@pytest.fixture(scope="module")
def digits() -> Tensor:
    return tiny.make_data()[0][0]


@pytest.fixture(scope="module")
def space(tiny_teacher: nn.Module, digits: Tensor) -> SearchSpace:
    return SearchSpace.from_teacher(tiny_teacher, (digits[:64],), torch.Generator().manual_seed(0))


def exported(student: Student, inputs: tuple[Tensor, ...], path: Path) -> Artifact:
    example = tuple(tensor[:1] for tensor in inputs)
    return export_artifact(student, example, inputs, path)


def choices_of(space: SearchSpace, kind: str, n: int = 2) -> dict[str, Choice]:
    """The middle choice of the first n sites of a kind."""
    sites = [site for site in space.sites.values() if site.kind == kind][:n]
    return {site.name: site.choices[(len(site.choices) + 1) // 2] for site in sites}


def test_inputs_are_fed_under_the_graphs_names() -> None:
    assert list(feed((torch.zeros(2), torch.ones(2)))) == ["input_0", "input_1"]


def test_the_artifact_answers_as_the_module_for_any_batch(space: SearchSpace, digits: Tensor, tmp_path: Path) -> None:
    student = space.build(Recipe.of(choices_of(space, "channels")))
    artifact = exported(student, (digits[:64],), tmp_path / "a.onnx")
    assert artifact == Artifact.from_file(tmp_path / "a.onnx", "float32")
    assert parity(artifact, student, (digits[:16],)) < 1e-5
    with torch.no_grad():
        wanted = student.module(digits[:37]).numpy()
    for n_batch in (1, 7, 128):
        assert np.abs(run_artifact(artifact, (digits[:37],), n_batch=n_batch) - wanted).max() < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_two_inputs_one_of_them_whole_numbers(tmp_path: Path) -> None:
    _, inputs = build("two_inputs")
    student = space_of("two_inputs").build(Recipe())
    artifact = exported(student, inputs, tmp_path / "a.onnx")
    assert parity(artifact, student, inputs) < 1e-5


def test_int8_computes_something_else_that_is_close(space: SearchSpace, digits: Tensor, tmp_path: Path) -> None:
    student = space.build(Recipe.of({"precision": "int8"}))
    artifact = exported(student, (digits[:128],), tmp_path / "a.onnx")
    assert artifact.precision == "int8"
    assert 1e-4 < parity(artifact, student, (digits[:64],)) < 0.3
    kinds = {tensor.data_type for tensor in onnx.load(artifact.path).graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_float16_is_close_and_half_the_size(space: SearchSpace, digits: Tensor, tmp_path: Path) -> None:
    student = replace(space.build(Recipe()), precision="float16")
    whole = exported(space.build(Recipe()), (digits[:64],), tmp_path / "whole.onnx")
    artifact = exported(student, (digits[:64],), tmp_path / "a.onnx")
    assert artifact.precision == "float16"
    assert artifact.size_bytes < 0.6 * whole.size_bytes
    assert 1e-6 < parity(artifact, student, (digits[:64],)) < 2e-3
    assert run_artifact(artifact, (digits[:37],), n_batch=7).dtype == np.float32


def test_a_float16_file_with_other_weights_is_refused(space: SearchSpace, digits: Tensor, tmp_path: Path) -> None:
    student = replace(space.build(Recipe()), precision="float16")
    artifact = exported(student, (digits[:64],), tmp_path / "a.onnx")
    tampered(artifact.path, 0.5)
    with pytest.raises(ValueError, match="differs from the module"):
        parity(Artifact.from_file(artifact.path, "float16"), student, (digits[:16],))


def test_a_student_out_of_the_range_of_float16_leaves_no_file(tmp_path: Path) -> None:
    module = nn.Linear(3, 2).eval()
    with torch.no_grad():
        module.weight.fill_(1e6)
    with pytest.raises(ValueError, match="float16 ends at 65504"):
        exported(Student(module, "float16"), (torch.randn(8, 3),), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_student_that_cannot_be_quantised_leaves_no_file(tmp_path: Path) -> None:
    student = Student(nn.Sequential(nn.ReLU(), nn.Flatten()), "int8")
    with pytest.raises(ValueError, match="quantise"):
        exported(student, (torch.randn(8, 2, 3),), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def tampered(path: Path, change: float) -> None:
    """Adds to one weight of the largest tensor."""
    model = onnx.load(path)
    largest = max(model.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
    values = numpy_helper.to_array(largest).copy()
    values.flat[0] += change
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))
    onnx.save(model, path)


@pytest.mark.parametrize(("change", "problem"), [(0.5, "differs from the module"), (np.nan, "NaN or infinite")])
def test_a_file_with_other_weights_is_refused(
    space: SearchSpace, digits: Tensor, tmp_path: Path, change: float, problem: str
) -> None:
    student = space.build(Recipe())
    artifact = exported(student, (digits[:64],), tmp_path / "a.onnx")
    tampered(artifact.path, change)
    with pytest.raises(ValueError, match=problem):
        parity(Artifact.from_file(artifact.path, "float32"), student, (digits[:16],))


def test_a_module_that_answers_nan_has_no_parity(space: SearchSpace, digits: Tensor, tmp_path: Path) -> None:
    student = space.build(Recipe())
    artifact = exported(student, (digits[:64],), tmp_path / "a.onnx")
    with torch.no_grad():
        student.module.head.bias[0] = torch.nan  # type: ignore[union-attr, operator]
    with pytest.raises(ValueError, match="differs"):
        parity(artifact, student, (digits[:16],))


def test_another_shape_is_refused(space: SearchSpace, digits: Tensor, tmp_path: Path) -> None:
    student = space.build(Recipe())
    artifact = exported(student, (digits[:64],), tmp_path / "a.onnx")
    shorter = replace(student, module=nn.Sequential(student.module, nn.Linear(10, 4)).eval())
    with pytest.raises(ValueError, match=r"answers with shape \(16, 10\), the module with \(16, 4\)"):
        parity(artifact, shorter, (digits[:16],))


@pytest.mark.parametrize("kinds", [("channels",), ("depth",), ("factorize",), ("channels", "depth", "factorize")])
def test_a_student_comes_back_bit_identical(
    space: SearchSpace, tiny_teacher: nn.Module, digits: Tensor, tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    choices: dict[str, Choice] = {}
    for kind in kinds:
        found = choices_of(space, kind, 1 if kind == "depth" else 2)
        assert found, kind
        choices |= found
    recipe = Recipe.of(choices)
    student = space.build(recipe)
    path = save_student(student, recipe, (digits[:1],), tmp_path / "s.safetensors")
    other_weights = tiny.build()
    loaded = load_student(path, other_weights)
    assert not loaded.module.training
    wanted = student.module.state_dict()
    got: Mapping[str, Tensor] = loaded.module.state_dict()
    assert list(got) == list(wanted)
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)
    with torch.no_grad():
        assert torch.equal(loaded.module(digits[:32]), student.module(digits[:32]))
    assert other_weights.training  # the caller's module is left as it was


def test_an_int8_student_comes_back_as_one(space: SearchSpace, tiny_teacher: nn.Module, tmp_path: Path) -> None:
    recipe = Recipe.of({"precision": "int8"})
    path = save_student(space.build(recipe), recipe, (torch.zeros(1, 1, 8, 8),), tmp_path / "s.safetensors")
    assert load_student(path, tiny_teacher).precision == "int8"


def refused(path: Path, teacher: nn.Module) -> str:
    with pytest.raises(UserError) as caught:
        load_student(path, teacher)
    assert caught.value.exit_status == 2
    assert caught.value.remedy
    return caught.value.problem


def test_files_that_are_no_students(tmp_path: Path, tiny_teacher: nn.Module) -> None:
    plain = tmp_path / "plain.safetensors"
    save_file({"a": torch.zeros(2)}, plain)
    assert "is not an exported student" in refused(plain, tiny_teacher)
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"\x10\x00")
    assert "is not an exported student" in refused(garbage, tiny_teacher)
    assert "is not an exported student" in refused(tmp_path / "missing.safetensors", tiny_teacher)


def test_a_student_of_another_teacher(space: SearchSpace, digits: Tensor, tmp_path: Path) -> None:
    recipe = Recipe.of(choices_of(space, "channels"))
    path = save_student(space.build(recipe), recipe, (digits[:1],), tmp_path / "s.safetensors")
    assert "does not fit this teacher" in refused(path, build("resnet")[0])
    assert "does not fit this teacher" in refused(path, build("two_inputs")[0])


def test_a_pt2_file_loads_and_agrees(space: SearchSpace, digits: Tensor, tmp_path: Path) -> None:
    student = space.build(Recipe.of(choices_of(space, "channels")))
    path = save_pt2(student, (digits[:1],), tmp_path / "s.pt2")
    program = torch.export.load(path).module()
    for n in (1, 5):
        with torch.no_grad():
            assert torch.allclose(program(digits[:n]), student.module(digits[:n]), atol=1e-5)


def test_a_pt2_file_holds_no_int8(space: SearchSpace, digits: Tensor, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="int8"):
        save_pt2(space.build(Recipe.of({"precision": "int8"})), (digits[:1],), tmp_path / "s.pt2")
    assert list(tmp_path.iterdir()) == []
