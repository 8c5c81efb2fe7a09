"""Whether int8 files keep the layers that read the inputs in float32."""

import math
import shutil

import numpy as np

from latency_models.artifact import Artifact
from latency_models.model import Interleaving, LatencyModel
from nas.evaluate import FAILURES, FLOAT32_FIRST, in_precision, precisions, repaired
from nas.export import export_artifact
from nas.workbench import Workbench
from search_spaces.recipe import Recipe

FLOAT32, INT8 = "float32", "int8"
MUCH_SLOWER = 0.02
"""Logarithm of a ratio of latencies that visits in turns may be off by, and that accuracy is worth."""


def decide_first_layers(bench: Workbench, architecture: Recipe) -> None:
    """Whether int8 files keep the layers that read the inputs in float32: unless that is slower, as it loses less.

    Where an input has few channels, ONNX Runtime's int8 convolution takes longer on it than float32 does. Both files
    are timed in turns: visits at different times have misled a search, and cost its small students a
    quarter more latency. Decided once a run.

    Args:
        bench: of the run.
        architecture: recipe without precision that both files are made of.
    """
    if "int8" not in precisions(bench) or bench.ledger.get_fact(FLOAT32_FIRST) is not None:
        return
    student = repaired(bench, in_precision(bench, architecture, "int8"))
    template = bench.kept.template_of(bench.task.teacher, bench.example)
    folder = bench.artifact_path(architecture, 0).with_suffix(".first")
    folder.mkdir(exist_ok=True)
    try:
        files = {
            kept: export_artifact(student, bench.example, bench.calibration, folder / f"{kept}.onnx", template, first)
            for kept, first in ((INT8, False), (FLOAT32, True))
        }
        slower = [log_slowdown(model, files) for model in bench.models.values() if not model.refusal("int8")]
    except FAILURES:
        return  # the candidates themselves will say what is wrong
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    bench.ledger.set_fact(FLOAT32_FIRST, float(np.mean(slower)) <= MUCH_SLOWER)


def log_slowdown(model: LatencyModel, files: dict[str, Artifact]) -> float:
    """Logarithm of how many times as long the first layers in float32 make an inference.

    Args:
        model: of a target.
        files: under `FLOAT32` and `INT8`, what the first layers of each are in.

    Raises:
        DeviceError, LatencyError: as `LatencyModel.latency`.
    """
    if isinstance(model, Interleaving):
        found = model.latencies(files, dict.fromkeys(files, ()))
    else:
        found = {kept: model.latency(file) for kept, file in files.items()}
    return math.log(found[FLOAT32].ratio / found[INT8].ratio)
