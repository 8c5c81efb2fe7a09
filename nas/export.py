"""From a student to files: the artifact that is timed and scored, and the other formats a user may want."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from latency_models.artifact import Artifact
from latency_models.onnxruntime_backend import ORT_ERRORS
from nas.errors import UserError
from nas.files import write_atomic
from nas.float16 import N_CALIBRATION, to_float16
from nas.quantize import quantize_int8
from nas.teacher import RUN_ERRORS, freeze
from nas.template import Template, filled, template_of
from nas.trace import input_names, onnx_bytes
from search_spaces.coupling import first_line
from search_spaces.recipe import Recipe
from search_spaces.space import SearchSpace
from search_spaces.transform import Student

N_CHECK = 4
"""Inputs on which a file made from a template is held against the module before anything is made of it."""
N_QUANTIZE = 32
"""Calibration inputs that int8 ranges are taken from. On seven students of 87 to 98 % (3,000 images) 16 to 128 of them
gave the same accuracies to .4 points, in no order."""
TOLERANCE: Mapping[str, float] = {"float32": 1e-3, "float16": 2e-2, "int8": 1.0}
"""Largest difference between the artifact's and the module's outputs, as a share of the largest output. Seen on 15
networks with random weights: float32 some 1e-6, float16 6e-5 to 6e-4, growing with depth. An int8 artifact computes
something else; its difference says how far quantisation moved it, and only nonsense is refused."""


def feed(inputs: tuple[Tensor, ...]) -> dict[str, NDArray[np.generic]]:
    """The inputs under the graph's names."""
    names = input_names(len(inputs))
    return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in zip(names, inputs, strict=True)}


def teacher_template(teacher: nn.Module, example: tuple[Tensor, ...]) -> Template | None:
    """The teacher's template, or None where it cannot be traced with marks."""
    try:
        return template_of(teacher, example)
    except (RuntimeError, TypeError, ValueError):  # students are traced one by one then
        return None


def export_artifact(
    student: Student,
    example: tuple[Tensor, ...],
    calibration: tuple[Tensor, ...],
    path: Path,
    template: Template | None = None,
    float32_first: bool = False,
) -> Artifact:
    """Writes the student's artifact in its precision.

    Args:
        student: what to export.
        example: one sample of each input.
        calibration: (n, ...) real inputs; int8 takes its ranges from them, float16 checks its own.
        path: file to write; it appears whole or not at all.
        template: of the teacher, which spares tracing the student where it fits; what it gives is checked on the first
            calibration inputs.
        float32_first: whether an int8 file keeps the layers that read the inputs in float32.

    Raises:
        ValueError: a student that cannot be quantised, or is out of float16's range.
    """
    content = None if template is None else _from_template(template, student, calibration or example)
    if content is None:
        content = onnx_bytes(student.module, example)
    if student.precision == "float16":
        content = to_float16(content, feed(tuple(tensor[:N_CALIBRATION] for tensor in calibration)))
    if student.precision == "int8":
        some = feed(tuple(tensor[:N_QUANTIZE] for tensor in calibration))
        return quantize_int8(content, path, some, float32_first=float32_first)
    write_atomic(path, content)
    return Artifact.from_file(path, student.precision)


@torch.no_grad()
def _from_template(template: Template, student: Student, inputs: tuple[Tensor, ...]) -> bytes | None:
    """The float32 file by the template, or None where it does not fit or gives another network."""
    content = filled(template, student.module)
    if content is None:
        return None
    some = tuple(tensor[:N_CHECK] for tensor in inputs)
    wanted = student.module(*some).numpy()
    try:
        got = run_session(_session(content, 1), some)
        difference(got, wanted, TOLERANCE["float32"])
    except (ValueError, *ORT_ERRORS):
        return None
    return content


def opened(artifact: Artifact, n_threads: int = 1) -> onnxruntime.InferenceSession:
    """A session of the artifact, to be checked and scored through.

    Raises:
        LatencyError: the file is no longer the one with the artifact's digest.
    """
    return _session(artifact.read(), n_threads)


def _session(content: bytes, n_threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_session(
    session: onnxruntime.InferenceSession, inputs: tuple[Tensor, ...], n_batch: int = 128
) -> NDArray[np.float32]:
    """Outputs (n, ...) on all samples, in batches."""
    outputs = [
        session.run(None, feed(tuple(tensor[start : start + n_batch] for tensor in inputs)))[0]
        for start in range(0, len(inputs[0]), n_batch)
    ]
    joined: NDArray[np.float32] = np.concatenate(outputs)
    return joined


def run_artifact(
    artifact: Artifact, inputs: tuple[Tensor, ...], n_threads: int = 1, n_batch: int = 128
) -> NDArray[np.float32]:
    """Outputs (n, ...) of the artifact on all samples, in batches."""
    return run_session(opened(artifact, n_threads), inputs, n_batch)


@torch.no_grad()
def parity(
    artifact: Artifact,
    student: Student,
    inputs: tuple[Tensor, ...],
    session: onnxruntime.InferenceSession | None = None,
) -> float:
    """Largest difference between the artifact's and the module's outputs on real inputs, as a share of the largest.

    Args:
        artifact, student: to compare.
        inputs: real ones.
        session: of the artifact, where one is open.

    Raises:
        ValueError: shapes differ, an output is not finite, or they differ by more than the precision's `TOLERANCE`.
    """
    got = run_session(session or opened(artifact), inputs)
    return difference(got, student.module(*inputs).numpy(), TOLERANCE[artifact.precision])


def difference(got: NDArray[np.float32], wanted: NDArray[np.float32], tolerance: float) -> float:
    """Largest difference between a file's outputs and its module's, as a share of the largest output.

    Raises:
        ValueError: shapes differ, an output is not finite, or they differ by more than the tolerance.
    """
    if got.shape != wanted.shape:
        raise ValueError(f"the exported file answers with shape {got.shape}, the module with {wanted.shape}")
    if not np.isfinite(got).all():
        raise ValueError("the exported file answers with NaN or infinite values")
    share = float(np.abs(got - wanted).max() / (np.abs(wanted).max() + 1e-12))
    if not share <= tolerance:
        raise ValueError(f"the exported file differs from the module by {share:.2g} of the largest output")
    return share


def save_student(student: Student, recipe: Recipe, example: tuple[Tensor, ...], path: Path) -> Path:
    """Writes the student's weights as safetensors; its recipe and the inputs' shapes lie in the file's metadata."""
    tensors = {name: tensor.contiguous().clone() for name, tensor in student.module.state_dict().items()}
    shapes = [[str(tensor.dtype).removeprefix("torch."), list(tensor.shape[1:])] for tensor in example]
    write_atomic(path, save(tensors, {"recipe": recipe.to_json(), "inputs": json.dumps(shapes)}))
    return path


def load_student(path: Path, teacher: nn.Module) -> Student:
    """Rebuilds the module that `save_student` wrote.

    Args:
        path: the safetensors file.
        teacher: the module that the recipe is of; its weights do not matter.

    Raises:
        UserError: the file is no student's, or belongs to another teacher.
    """
    remedy = "Give the file that `nas export` wrote, and the teacher of that run."
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        recipe = Recipe.from_json(metadata["recipe"])
        shapes = json.loads(metadata["inputs"])
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(f"{path} is not an exported student ({error}).", remedy) from error
    try:
        student = SearchSpace.skeleton(freeze(teacher), _any_inputs(shapes)).build(recipe, repair=False)
        student.module.load_state_dict(tensors)
    except RUN_ERRORS as error:
        raise UserError(f"{path} does not fit this teacher ({first_line(error)}).", remedy) from error
    return student


def saved_example(path: Path) -> tuple[Tensor, ...]:
    """Two samples, of any values, for the student in a file of `save_student`."""
    with safe_open(path, "pt") as file:
        return _any_inputs(json.loads(file.metadata()["inputs"]))


def _any_inputs(shapes: list[tuple[str, list[int]]]) -> tuple[Tensor, ...]:
    """Two samples for each (type, shape of a sample)."""
    generator = torch.Generator().manual_seed(0)
    inputs = []
    for name, shape in shapes:
        kind: torch.dtype = getattr(torch, name)
        values = torch.randn(2, *shape, generator=generator)
        inputs.append(values.to(kind) if kind.is_floating_point else torch.zeros(2, *shape, dtype=kind))
    return tuple(inputs)


def save_pt2(student: Student, example: tuple[Tensor, ...], path: Path) -> Path:
    """Writes the float32 student as a `torch.export` program with a free batch axis.

    Raises:
        ValueError: the student is float16 or int8, which only ONNX carries here.
    """
    if student.precision != "float32":
        raise ValueError(f"{student.precision} is exported as ONNX: .pt2 would hold the float32 weights")
    batch = torch.export.Dim("batch", min=1)
    two = tuple(torch.cat([tensor[:1]] * 2) for tensor in example)
    program = torch.export.export(student.module, two, dynamic_shapes=tuple({0: batch} for _ in two))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    write_atomic(path, buffer.getvalue())
    return path
