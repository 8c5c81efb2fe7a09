"""Whether a device computes what the artifact says: its outputs against ONNX Runtime's on this machine."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from latency_models import onnxruntime_backend
from latency_models.artifact import Artifact
from latency_models.backend import Feed
from latency_models.errors import LatencyError
from latency_models.target import Target

TOLERANCE: Mapping[str, float] = {"float32": 1e-3, "float16": 3e-2, "int8": 1e-1}
"""Largest difference as a share of the largest output. Rounding in another order makes some 1e-6 in float32; float16 is
added up in half precision on some devices and in single precision on others."""


def reference_outputs(artifact: Artifact, feed: Feed) -> list[NDArray[np.generic]]:
    """The artifact's outputs as ONNX Runtime computes them here.

    Raises:
        LatencyError: the artifact does not load or the feed does not fit.
    """
    return onnxruntime_backend.load(artifact, Target(), feed).outputs(feed)


def check_agreement(
    wanted: Sequence[NDArray[np.generic]], got: Sequence[NDArray[np.generic]], precision: str, where: str
) -> None:
    """Refuses outputs that are not the network's.

    Args:
        wanted: of the reference.
        got: of the device.
        precision: of the artifact; it says how far rounding may go.
        where: the device, for the message.

    Raises:
        LatencyError: an output is NaN or infinite, or of another number, shape or value.
    """
    remedy = "Report it with the artifact: its latency there would be another network's."
    if [array.shape for array in got] != [array.shape for array in wanted]:
        raise LatencyError(f"On {where} the network answers with other shapes than ONNX Runtime.", remedy)
    for ours, theirs in zip(got, wanted, strict=True):
        mine, reference = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        if not np.isfinite(mine).all():
            raise LatencyError(f"On {where} an output holds NaN or infinite values.", "Leave this precision out there.")
        difference = float(np.abs(mine - reference).max(initial=0) / (np.abs(reference).max(initial=0) + 1e-12))
        if not difference <= TOLERANCE[precision]:
            raise LatencyError(
                f"On {where} an output differs from ONNX Runtime's by {difference:.2g} of the largest value.", remedy
            )
