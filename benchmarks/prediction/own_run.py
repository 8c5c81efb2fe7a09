"""Our own targets from beginning to end: prepare and measure where asked, predict, report."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latency_models.predict.choosing import choose
from latency_models.predict.kernels import network_of
from latency_models.predict.learned import learn
from latency_models.predict.predictor import Predicted, Sample
from nas import calibrate
from nas.calibrate_measure import N_KERNELS
from prediction.few_samples import Outcome, judged
from prediction.own_data import Group, load, pack
from prediction.own_measure import jobs, measure

TEACHERS = ("fashion-mnist", "mobilenet_v2", "vgg", "densenet")
N_STUDENTS = 180
"""Of each teacher."""
N_SAMPLES = 50
"""Students of a teacher that a predictor is learned from; the kernels of all of them are timed."""
LEAST_HELD_OUT = 20
"""Students beside those, without which a teacher on a target is left out: too few were measured, or could run."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """A predictor on students that it was not shown.

    Attributes:
        outcome: its shares; `task` is the teacher.
        predicted: of the students.
        seconds: measured.
    """

    outcome: Outcome
    predicted: Predicted
    seconds: Array


def sitting(folder: Path, limit_s: float) -> int:
    """Prepares what is not there yet and measures for so long; returns how many figures are left to take.

    Args:
        folder: where everything is kept until it is packed.
        limit_s: seconds, after the preparations.
    """
    from latency_models.predict.features import table_of
    from prediction.own_students import prepare

    timed = {}
    for name in TEACHERS:
        prepare(name, N_STUDENTS, folder / name)
        file = folder / name / "timed.json"
        if not file.is_file():
            table = table_of(network_of(folder / name / f"{i}.onnx") for i in range(N_STUDENTS))
            file.write_text(json.dumps(choose(table, N_SAMPLES, 0)), encoding="utf-8")
        timed[name] = json.loads(file.read_text(encoding="utf-8"))
    return measure(folder, jobs(dict.fromkeys(TEACHERS, N_STUDENTS), timed), limit_s)


def run(data: Path, n_seeds: int, out: Path) -> None:
    """Predicts from the two files of `pack`, writes the report, prints the figures."""
    from prediction.own_report import write

    groups = [group for group in load(data) if len(group.networks) >= N_SAMPLES + LEAST_HELD_OUT]
    few = [from_few(group, seed) for group in groups for seed in range(n_seeds)]
    unknown = [from_kernels(group, groups) for group in groups if group.kernel_s]
    calibrated = [from_few(group, seed, calibrate.N_STUDENTS, N_KERNELS) for group in groups for seed in range(n_seeds)]
    figures = figures_of(groups, few, unknown, calibrated)
    write(out, groups, few, unknown, figures, n_seeds)
    for name, value in figures.items():
        print(f"{name}={value:.4f}")


def from_few(group: Group, seed: int, n_samples: int = N_SAMPLES, n_timed: int = N_SAMPLES) -> Judged:
    """The students of a teacher from measured ones that the product's own chooser picks.

    Args:
        group: the students.
        seed: of the choice.
        n_samples: how many it picks.
        n_timed: of how many of these the kernels count, where they were timed.
    """
    picked = np.array(choose(group.table, n_samples, seed))
    left = np.setdiff1d(np.arange(len(group.networks)), picked)
    learned = learn(_samples(group, picked, n_timed), group.target, around=group.table)
    return _judged(group, seed, n_samples, learned.predict(group.table.rows(left)), left)


def from_kernels(group: Group, groups: Sequence[Group]) -> Judged:
    """All students of a teacher of which only kernels were timed, beside what is known of the other teachers."""
    samples: list[Sample] = []
    for other in groups:
        if other.target == group.target and other.teacher != group.teacher:
            samples += _samples(other, np.array(choose(other.table, N_SAMPLES, 0)))
    learned = learn(samples, group.target, around=group.table, singles=list(group.kernel_s.values()))
    everyone = np.arange(len(group.networks))
    return _judged(group, 0, 0, learned.predict(group.table), everyone)


def figures_of(
    groups: Sequence[Group], few: Sequence[Judged], unknown: Sequence[Judged], calibrated: Sequence[Judged] = ()
) -> dict[str, float]:
    """Shares of all held-out students, of each target and of all; `calibrated`: as `nas calibrate` does it."""
    figures: dict[str, float] = {}
    targets = list(dict.fromkeys(group.target for group in groups))
    for name in (*targets, "all"):
        wanted = targets if name == "all" else [name]
        part = [one for one in few if one.outcome.target in wanted]
        figures[f"within_10_{name}"] = shared(part, lambda one: one.within_10)
        figures[f"within_5_{name}"] = shared(part, lambda one: one.within_5)
        figures[f"covered_{name}"] = shared(part, lambda one: one.covered)
        apart = [apart_of(group) for group in groups if group.target in wanted]
        repeated = np.concatenate(apart)
        if len(repeated):
            figures[f"noise_within_10_{name}"] = float((repeated <= 0.1).mean())
            figures[f"noise_within_5_{name}"] = float((repeated <= 0.05).mean())
        new = [one for one in unknown if one.outcome.target in wanted]
        if new:
            figures[f"unknown_teacher_within_10_{name}"] = shared(new, lambda one: one.within_10)
        default = [one for one in calibrated if one.outcome.target in wanted]
        if default:
            figures[f"calibrated_within_10_{name}"] = shared(default, lambda one: one.within_10)
            figures[f"calibrated_within_5_{name}"] = shared(default, lambda one: one.within_5)
    figures["n_held_out"] = float(sum(len(one.seconds) for one in few if one.outcome.seed == 0))
    return figures


def shared(part: Sequence[Judged], value: Callable[[Outcome], float]) -> float:
    """The mean over students."""
    weights = [len(one.seconds) for one in part]
    return float(np.average([value(one.outcome) for one in part], weights=weights))


def apart_of(group: Group) -> Array:
    """Of each student that was visited twice or more: how far its first visit is from what the others say."""
    visits = [one for one in group.visits_s if len(one) > 1]
    return np.array([abs(one[0] / float(np.median(one[1:])) - 1) for one in visits])


def repack(folder: Path, data: Path) -> None:
    """Writes what was measured so far as the two files that `run` reads."""
    pack(folder, dict.fromkeys(TEACHERS, N_STUDENTS), data)


def _samples(group: Group, picked: NDArray[np.int64], n_timed: int = N_SAMPLES) -> list[Sample]:
    seconds = group.seconds
    timed = [i for i in picked.tolist() if i in group.kernel_s][:n_timed]
    kernels = {i: group.kernel_s[i] for i in timed}
    return [Sample(group.networks[i], float(seconds[i]), kernels.get(i, ())) for i in picked.tolist()]


def _judged(group: Group, seed: int, n: int, predicted: Predicted, left: NDArray[np.int64]) -> Judged:
    seconds = group.seconds[left]
    return Judged(judged(group.teacher, group.target, seed, n, predicted, seconds), predicted, seconds)
