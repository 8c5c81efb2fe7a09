"""A module's graph as an ONNX file, by torch's tracing exporter."""

import io
import warnings
from typing import Any

import torch
from torch import Tensor, nn

OPSET = 17


def input_names(n_inputs: int) -> list[str]:
    """Names of the graph's inputs: `input`, or `input_0`, `input_1`, ..."""
    return ["input"] if n_inputs == 1 else [f"input_{index}" for index in range(n_inputs)]


def onnx_bytes(module: nn.Module, example: tuple[Tensor, ...], own_domain: str | None = None) -> bytes:
    """The module as an ONNX file with a free batch axis, batch norms folded.

    The tracing exporter takes a tenth of a second where the newer one takes some three; what either writes is believed
    only after `nas.export.parity`.

    Args:
        module: in eval mode.
        example: at least one sample of each input.
        own_domain: of nodes that the module puts into the graph itself. With them everything is left as the module has
            it: batch norms are not folded, nor constants.

    Raises:
        RuntimeError: it cannot be traced.
    """
    names = input_names(len(example))
    plain: dict[str, Any] = {}
    if own_domain is not None:
        # PRESERVE leaves batch norms alone; the module is in eval mode.
        training = torch.onnx.TrainingMode.PRESERVE
        plain = {"training": training, "do_constant_folding": False, "custom_opsets": {own_domain: 1}}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(tensor[:1] for tensor in example),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            output_names=["output"],
            dynamic_axes={name: {0: "batch"} for name in (*names, "output")},
            **plain,
        )
    return buffer.getvalue()
