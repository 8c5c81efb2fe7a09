"""Measuring the students of `own_students` on our own targets, in as many sittings as it takes.

Every figure is appended to a file as it comes, so that a process that is killed loses one at most; the next one goes on
where it stopped.
"""

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from latency_models.latency import Visit
from latency_models.measured import CANDIDATE, Measured
from latency_models.profiles import resolve
from latency_models.timing import log_ratios
from prediction.own_students import artifact_of, feed_of

KERNELS = "kernels"
TARGETS = {"onnxruntime-float32": ("cpu", "float32"), "onnxruntime-int8": ("cpu", "int8"),
           "tvm-float32": ("tvm-cpu", "float32")}  # fmt: skip
"""Name in tables to what a user writes after `--target`, and the students' precision."""
DISTURBED = 1.05
"""A visit is made again where the teacher took so many times as long as at its best."""
FASTEST = 0.02
"""Share of visits that are as fast as that."""
ENOUGH = 4
"""Visits of a student in one turn, after which it is left as it is, disturbed or not."""
PLAN = (
    ("0", "onnxruntime-float32"), ("0", "onnxruntime-int8"), (KERNELS, "onnxruntime-float32"),
    (KERNELS, "onnxruntime-int8"), ("1", "onnxruntime-float32"), ("1", "onnxruntime-int8"),
    ("0", "tvm-float32"), (KERNELS, "tvm-float32"), ("1", "tvm-float32"), ("2", "onnxruntime-int8"),
    ("2", "tvm-float32"),
)  # fmt: skip
"""What is done in which order: turns are numbered; in `KERNELS` a student's kernels are timed right after its visit."""


@dataclass(frozen=True)
class Job:
    """One figure to take.

    Attributes:
        teacher, target: names.
        student: its number.
        turn: of `PLAN`.
    """

    teacher: str
    target: str
    student: int
    turn: str


def jobs(students: Mapping[str, int], timed: Mapping[str, Sequence[int]]) -> list[Job]:
    """All that there is to do, in order; students in another order in every turn.

    Args:
        students: teacher to how many it has.
        timed: teacher to the students whose kernels are timed, the most telling first.
    """
    found = []
    for turn, target in PLAN:
        for teacher, n in students.items():
            seed = [list(TARGETS).index(target), *teacher.encode(), *turn.encode()]
            numbers = [int(i) for i in np.random.default_rng(seed).permutation(n)]
            found += [Job(teacher, target, i, turn) for i in (timed[teacher] if turn == KERNELS else numbers)]
    return found


def measure(folder: Path, todo: Sequence[Job], limit_s: float) -> int:
    """Takes figures until all are there or the time is over; returns how many are left.

    Args:
        folder: of `prepare`'s folders; `measured.jsonl` in it grows.
        todo: from `jobs`.
        limit_s: seconds after which no new figure is begun.
    """
    file, start_s = folder / "measured.jsonl", time.monotonic()
    before = list(lines_of(file))
    levels = Levels(before)
    n_visits = Counter(map(_job, before))
    done = {_job(line) for line in before if "refused" in line or levels.quiet(line)}
    done |= {job for job, n in n_visits.items() if n >= ENOUGH}
    left = [one for one in todo if one not in done]
    model: Measured | None = None
    opened: tuple[str, str] | None = None
    try:
        with file.open("a", encoding="utf-8") as out:
            out.write("\n")  # behind what a killed process may have left unfinished
            while left and time.monotonic() - start_s < limit_s:
                job = left.pop(0)
                if model is None or opened != (job.teacher, job.target):
                    if model is not None:
                        model.close()
                    model, opened = _open(folder / job.teacher, job.target), (job.teacher, job.target)
                line = asdict(job) | _figures(model, folder / job.teacher, job)
                out.write(json.dumps(line) + "\n")
                out.flush()
                os.fsync(out.fileno())
                levels.add(line)
                n_visits[job] += 1
                if "refused" not in line and not levels.quiet(line) and n_visits[job] < ENOUGH:
                    left.append(job)  # once more, when all others have had their turn
    finally:
        if model is not None:
            model.close()
    return len(left)


@final
class Levels:
    """How fast each teacher runs on each runtime where nothing outside disturbs the machine.

    A neighbour on the same host made all of a program's samples a third longer for seconds or minutes, and those of
    another program a fifth or a half longer. What cannot be predicted from a network is thus when it was measured: a
    visit counts where the teacher beside was nearly as fast as it ever is.
    """

    def __init__(self, lines: Iterable[dict[str, Any]]) -> None:
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        for line in lines:
            self.add(line)

    def add(self, line: dict[str, Any]) -> None:
        """One more visit."""
        if "refused" not in line:
            self._seconds[_key(line)].append(line["teacher_s"])

    def quiet(self, line: dict[str, Any]) -> bool:
        """Whether the machine was undisturbed in a visit, as far as is known."""
        return "refused" not in line and bool(line["teacher_s"] <= DISTURBED * self.level_s(line))

    def level_s(self, line: dict[str, Any]) -> float:
        """The teacher's seconds in the fastest visits."""
        return float(np.quantile(self._seconds[_key(line)], FASTEST))


def _key(line: dict[str, Any]) -> tuple[str, str]:
    return line["teacher"], TARGETS[line["target"]][0]


def lines_of(file: Path) -> Iterator[dict[str, Any]]:
    """What was measured so far; a line that a killed process left unfinished is passed by."""
    if not file.is_file():
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("{") and line.endswith("}"):
            yield json.loads(line)


def _job(line: dict[str, Any]) -> Job:
    return Job(line["teacher"], line["target"], line["student"], line["turn"])


def _open(folder: Path, target: str) -> Measured:
    return Measured(resolve(TARGETS[target][0]), artifact_of(folder, None, "float32"), feed_of(folder), seed=0)


def _figures(model: Measured, folder: Path, job: Job) -> dict[str, Any]:
    """A visit beside the teacher, and in the turn for kernels also these, right after it."""
    artifact = artifact_of(folder, job.student, TARGETS[job.target][1])
    try:
        found = _visited(model.visits({CANDIDATE: artifact})[CANDIDATE])
        if job.turn == KERNELS:
            found["kernels"] = [_kernel(one) for one in model.kernels(artifact)]
    except LatencyError as error:
        return {"refused": str(error)}
    return found | {"environment": model.environment(), "at_s": round(time.time())}


def _visited(visit: Visit) -> dict[str, Any]:
    logs = log_ratios(visit)
    fast_s, teacher_fast_s = (np.quantile(samples, 0.2) for samples in (visit.candidate_s, visit.anchor_s))
    return {
        "fast_s": round(float(fast_s), 9),
        "teacher_fast_s": round(float(teacher_fast_s), 9),
        "ratio": round(float(np.exp(np.median(logs))), 6),
        "seconds": round(float(np.median(visit.candidate_s)), 9),
        "teacher_s": round(float(np.median(visit.anchor_s)), 9),
        "n_pairs": len(logs),
    }


def _kernel(one: KernelTime) -> dict[str, Any]:
    names = ("name", "operator", "n_in", "n_out", "groups", "shape", "precision", "n_flops")
    return {name: getattr(one, name) for name in names} | {"seconds": round(one.seconds, 10)}
