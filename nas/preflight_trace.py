"""Whether the traced graph computes what the teacher does: the last of what is looked at before any work."""

from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors
from torch import Tensor, nn

from nas.data import Split
from nas.errors import UserError
from nas.teacher import RUN_ERRORS, Task

Trace = Callable[[nn.Module, tuple[Tensor, ...]], bytes]
"""(module, one sample of each input with the batch axis) to an ONNX file's content."""

TOLERANCE = 1e-3
"""Largest difference of outputs as a share of the largest output; float32 kernels differ by some 1e-6 to 1e-5."""
_SESSION_ERRORS = (
    onnxruntime_errors.Fail,
    onnxruntime_errors.InvalidArgument,
    onnxruntime_errors.InvalidGraph,
    onnxruntime_errors.NotImplemented,
    onnxruntime_errors.RuntimeException,
)


@torch.no_grad()
def check_trace(task: Task, trace: Trace, expected: Tensor) -> None:
    """Holds the traced graph against the teacher's outputs on the first validation samples, one by one and together.

    Args:
        task: teacher and data.
        trace: how the product turns a module into ONNX.
        expected: (n, ...) the teacher's outputs on the first n validation samples.

    Raises:
        UserError: it cannot be traced, or the graph computes something else.
    """
    try:
        content = trace(task.teacher, task.data.example)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except (*RUN_ERRORS, *_SESSION_ERRORS) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"The teacher cannot be traced to ONNX: {reason.strip().rstrip('.')}.",
            "Use operations that torch.onnx.export(..., dynamo=False) knows, on tensors only.",
        ) from error
    names = [value.name for value in session.get_inputs()]
    samples = task.data.validation.first(len(expected))
    if len(names) != len(samples.inputs):
        raise UserError(
            f"The teacher has {len(samples.inputs)} input(s), of which {len(names)} reach its output.",
            "Leave the unused inputs out of forward() and make_data().",
        )
    for index in range(len(samples)):
        one = samples.take(torch.tensor([index]))
        try:
            traced = session.run(None, {n: t.numpy() for n, t in zip(names, one.inputs, strict=True)})[0]
        except _SESSION_ERRORS:
            traced = np.empty(0, dtype=np.float32)
        if _is_other(traced, expected[index : index + 1]):
            raise UserError(
                f"The teacher cannot be traced: on validation sample {index} the traced graph does not give the "
                "teacher's outputs. Its forward() most likely decides by the values of its input (if, for, .item()).",
                "Write such decisions with tensors, e.g. torch.where.",
            )
    if all(isinstance(value.shape[0], str) for value in session.get_inputs()):
        _check_trace_of_batch(session, samples, expected)


def _check_trace_of_batch(session: onnxruntime.InferenceSession, samples: Split, expected: Tensor) -> None:
    names = [value.name for value in session.get_inputs()]
    try:
        traced = session.run(None, {n: t.numpy() for n, t in zip(names, samples.inputs, strict=True)})[0]
    except _SESSION_ERRORS:
        traced = np.empty(0, dtype=np.float32)
    if _is_other(traced, expected):
        raise UserError(
            f"The teacher cannot be traced for {len(samples)} samples at once, only for one.",
            "Let forward() take any number of samples: no loops over them, and x.shape[0] or -1 wherever it reshapes.",
        )


def _is_other(traced: object, expected: Tensor) -> bool:
    found = np.asarray(traced)
    return found.shape != tuple(expected.shape) or differ(expected, torch.from_numpy(found))


def differ(a: Tensor, b: Tensor) -> bool:
    """Whether outputs of one shape differ by more than `TOLERANCE`, or hold NaN."""
    return not float((a - b).abs().max()) <= TOLERANCE * max(float(a.abs().max()), 1e-6)
