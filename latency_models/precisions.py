"""Which precisions a kind of target computes in natively, and why not in the others."""

from collections.abc import Sequence
from typing import get_args

from latency_models.artifact import Artifact, Precision
from latency_models.errors import LatencyError
from latency_models.target import Target

PRECISIONS: tuple[str, ...] = get_args(Precision)

_CONVERTED = "ONNX Runtime computes it in float32 on processors and takes as long as for float32"
_NO_INT8_GPU = "ONNX Runtime's CUDA provider has no int8 convolution and would compute in float32"
_NO_INT8_TVM = "TVM would compute it in float32, between conversions"
_NO_FLOAT16_CORE = "its cores have no half-precision arithmetic and would compute in float32"


def native_precisions(target: Target) -> tuple[str, ...]:
    """The precisions that a target's runtime and hardware compute in, float32 first."""
    return tuple(precision for precision in PRECISIONS if _obstacle(target, precision) is None)


def refusal(target: Target, precision: str) -> str | None:
    """Why a target does not compute in a precision, as half a sentence, or None where it does."""
    if precision in target.precisions:
        return None
    return _obstacle(target, precision) or "its profile leaves it out"


def check_precision(target: Target, artifact: Artifact) -> None:
    """Refuses an artifact whose precision the target does not compute in, so that nothing else is timed in its stead.

    Raises:
        LatencyError: says why.
    """
    reason = refusal(target, artifact.precision)
    if reason is not None:
        raise LatencyError(
            f"{target.name} does not compute in {artifact.precision}: {reason}.",
            "Leave this precision out for this target, or choose another target.",
        )


def offered(asked: Sequence[str], targets: Sequence[Target]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The precisions that a search on these targets offers, and why it leaves out the others.

    Returns:
        those asked for that at least one target computes in, as ordered by `asked`; the others with a reason.
    """
    reasons = {
        precision: "; ".join(f"{target.name}: {reason}" for target, reason in zip(targets, refusals, strict=True))
        for precision in asked
        if all(refusals := [refusal(target, precision) or "" for target in targets])
    }
    return tuple(precision for precision in asked if precision not in reasons), reasons


def _obstacle(target: Target, precision: str) -> str | None:
    if precision not in PRECISIONS:
        return f"there is no precision {precision}"
    if precision == "int8":
        if target.runtime == "tvm":
            return _NO_INT8_TVM
        return _NO_INT8_GPU if target.device == "cuda" else None
    if precision == "float16" and target.device == "cpu":
        if target.runtime == "onnxruntime":
            return _CONVERTED
        return None if target.processor is not None and target.processor.float16 else _NO_FLOAT16_CORE
    return None
