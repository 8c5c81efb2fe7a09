"""What a user does without this project: torch's exporter, then ONNX Runtime's own static quantisation."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from nas.export import feed
from nas.trace import onnx_bytes

N_CALIBRATION, N_BATCH = 256, 32


def export(module: nn.Module, example: tuple[Tensor, ...], path: Path) -> Path:
    """Writes the float32 file."""
    path.write_bytes(onnx_bytes(module, example))
    return path


def quantize(float32: Path, out: Path, inputs: tuple[Tensor, ...]) -> Path:
    """Writes the int8 file: QDQ, weights per channel, ranges by their extremes, as ONNX Runtime's guide advises.

    Args:
        float32: the exported file.
        out: file to write.
        inputs: (n, ...) real inputs, of which the first 256 are used.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(float32), str(prepared))
        quantize_static(
            str(prepared),
            str(out),
            _Batches(inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    return out


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Calibration inputs in batches, in the form that ONNX Runtime asks for."""

    def __init__(self, inputs: tuple[Tensor, ...]) -> None:
        starts = range(0, min(N_CALIBRATION, len(inputs[0])), N_BATCH)
        self._batches: Iterator[dict[str, NDArray[np.generic]]] = (
            feed(tuple(tensor[start : start + N_BATCH] for tensor in inputs)) for start in starts
        )

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        return next(self._batches, None)
