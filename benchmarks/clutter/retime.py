"""All contenders' files timed in the same passes and scored on the test set, through ONNX Runtime.

A file's ratio to the teacher depends on the machine's state, which lasts seconds to minutes and moved single files by
30 %. So whatever is compared is timed in the same passes, the passes are spread over minutes, and the median over
passes counts. Within a pass one file at a time takes turns with the teacher.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from clutter.results import Measured, Point, Timing, distinct
from latency_models.onnxruntime_backend import environment
from latency_models.profiles import resolve
from latency_models.timing import Plan, visit
from nas.data import Split

PLAN = Plan(n_pairs=120, n_block=10, max_s=60.0)
N_BATCH = 200


@dataclass(frozen=True)
class Passes:
    """How often all files are timed, and the seconds from the start of one pass to that of the next, at the least."""

    n: int = 5
    every_s: float = 60.0


@dataclass(frozen=True)
class PlainRunner:
    """A session called the way most programs call it; `run` satisfies `latency_models.timing.Runner`."""

    session: onnxruntime.InferenceSession
    feed: dict[str, NDArray[np.float32]]

    def run(self) -> None:
        """One inference."""
        self.session.run(None, self.feed)


def retime(
    points: Sequence[Point],
    teacher: Path,
    test: Split,
    passes: Passes,
    say: Callable[[str], None] = print,
    plan: Plan = PLAN,
) -> Timing:
    """Accuracy of every file, and its latency as a share of the teacher's in every pass.

    Args:
        points: the files; equal ones are timed once.
        teacher: its ONNX file, the anchor.
        test: the test set, one input and labels.
        passes: how many, how far apart.
        say: told how far it is.
        plan: of the samples of one file in one pass.
    """
    chosen = distinct(points)
    accuracies = {point.digest: accuracy(point.path, test) for point in chosen}
    image = np.random.default_rng(0).standard_normal((1, *test.inputs[0].shape[1:]), dtype=np.float32)
    ratios: dict[str, list[float]] = {point.digest: [] for point in chosen}
    nulls, teacher_s = list[float](), list[float]()
    start_s = time.monotonic()
    for index in range(passes.n):
        time.sleep(max(0.0, start_s + index * passes.every_s - time.monotonic()))
        null, anchor_s = ratio(teacher, teacher, image, plan)
        nulls.append(null)
        teacher_s.append(anchor_s)
        for point in chosen:
            ratios[point.digest].append(ratio(point.path, teacher, image, plan)[0])
        say(
            f"pass {index + 1} of {passes.n}: {len(chosen)} files, teacher {1e3 * anchor_s:.3f} ms, "
            f"against itself {null:.3f}"
        )
    return Timing(
        accuracy(teacher, test),
        tuple(teacher_s),
        tuple(nulls),
        {digest: Measured(accuracies[digest], tuple(ratios[digest])) for digest in ratios},
        _where(),
    )


def ratio(file: Path, teacher: Path, image: NDArray[np.float32], plan: Plan = PLAN) -> tuple[float, float]:
    """The file's latency as a share of the teacher's, both opened anew, and the teacher's in seconds."""
    one = visit({"file": _runner(file, image)}, _runner(teacher, image), plan)["file"]
    pairs = zip(one.candidate_s, one.anchor_s, strict=True)
    return statistics.median(candidate_s / anchor_s for candidate_s, anchor_s in pairs), statistics.median(one.anchor_s)


def accuracy(file: Path, test: Split) -> float:
    """Share of the test images that the file classifies right."""
    runner = _runner(file, test.inputs[0][:1].numpy())
    ((name, _),) = runner.feed.items()
    images, labels = test.inputs[0].numpy(), test.labels
    assert labels is not None
    outputs = [
        runner.session.run(None, {name: images[start : start + N_BATCH]})[0] for start in range(0, len(images), N_BATCH)
    ]
    return float(np.mean(np.concatenate(outputs).argmax(1) == labels.numpy()))


def _runner(file: Path, image: NDArray[np.float32]) -> PlainRunner:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return PlainRunner(session, {session.get_inputs()[0].name: image})


def _where() -> Mapping[str, str]:
    return {"at": f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"} | environment(resolve("cpu", 1))
