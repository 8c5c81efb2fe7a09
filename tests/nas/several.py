"""The made-up run of `records` on three targets: two measured, the third an estimate; int8 on the first alone."""

from dataclasses import replace
from typing import Any

from latency_models.latency import Latency
from nas.record import Record
from tests.nas.records import RECORDS, TARGET, TEACHER, make_latency, make_student, widths

TVM, BOARD = "tvm-cpu-1t", "estimate:cortex-a72-1t"
TARGETS = (TARGET, TVM, BOARD)
NO_INT8 = "TVM would compute int8 in float32"
NO_FLOAT16 = "ONNX Runtime would compute float16 in float32"
KNOWN_ERROR = 0.09


def on_tvm(ratio: float, half_width: float = 0.02) -> Latency:
    return replace(make_latency(ratio, half_width), target=TVM)


def on_board(ratio: float, known_error: float | None = KNOWN_ERROR) -> Latency:
    slow = 9.5  # times slower than the machine of `make_latency`
    latency = make_latency(ratio, 0.18)
    seconds: dict[str, Any] = {name: slow * getattr(latency, name) for name in ("median_s", "low_s", "high_s")}
    marks: dict[str, Any] = {
        "source": "predicted",
        "visits": (),
        "known_error": known_error,
        "environment": {"llvm": "19.1.7"},
    }
    return replace(latency, target=BOARD, **seconds, **marks)


def everywhere(record: Record, tvm: float, board: float) -> Record:
    """The record with latencies on the other targets as well."""
    return replace(record, elsewhere={TVM: on_tvm(tvm), BOARD: on_board(board)})


def half(record: Record, tvm: float, board: float) -> Record:
    """A float16 student: on the other targets only."""
    return replace(everywhere(record, tvm, board), latency=None, refusals={TARGET: NO_FLOAT16})


ANCHOR: dict[str, Any] = {"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0}
SEVERAL_TEACHER = replace(
    TEACHER, elsewhere={TVM: replace(on_tvm(1.0), **ANCHOR), BOARD: replace(on_board(1.0), **ANCHOR)}
)
NARROW = make_student({**widths(2, 0, 1, 2, 3), "depth:blocks.1": "drop"}, 0.9291, 0.9283, 0.340)
TUCKER = RECORDS[1]  # the most accurate member of the first front
DEEP = make_student(widths(4, 1, 3, 5), 0.9330, 0.9321, 0.415)
HALF_TEACHER = half(make_student({"precision": "float16"}, 0.9371, 0.9360, 1.0), 0.720, 0.560)
HALF_NARROW = half(make_student({**widths(2, 4, 5), "precision": "float16"}, 0.9349, 0.9341, 1.0), 0.330, 0.270)
SEVERAL = (
    *(
        replace(one, refusals={TVM: NO_INT8, BOARD: NO_INT8}) if "precision" in one.recipe else one
        for one in RECORDS
        if one is not TUCKER and one.ok
    ),
    everywhere(TUCKER, 0.780, 0.590),
    everywhere(NARROW, 0.290, 0.310),
    everywhere(DEEP, 0.380, 0.330),
    everywhere(make_student(widths(4, 0, 1, 2), 0.9188, 0.9180, 0.48), 0.240, 0.260),
    HALF_TEACHER,
    HALF_NARROW,
    *(one for one in RECORDS if not one.ok),
)
