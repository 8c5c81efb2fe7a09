"""One rung: distilling an architecture for some seconds, and scoring it in its precisions."""

import copy
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save

from latency_models.artifact import Precision
from nas.distill import Lesson, distill, learning_rate
from nas.evaluate import architecture_of, beat, evaluate, in_precision, precisions, repaired
from nas.files import write_atomic
from nas.latencies import everywhere
from nas.record import Record
from nas.strategies.training import Candidate
from nas.workbench import Workbench
from search_spaces.recipe import Recipe
from search_spaces.transform import Student

FAR_SLOWER = 1.3
"""A precision so much slower than another of the same student gains too little accuracy to be on the front."""


def weights_path(bench: Workbench, architecture: Recipe, rung: int) -> Path:
    """Where an architecture's trained weights lie."""
    return bench.run / "weights" / f"{architecture.digest}-r{rung}.safetensors"


def candidates_of(records: Iterable[Record], labels: Iterable[str]) -> dict[Recipe, Candidate]:
    """The architectures among these records, with their points on each target.

    Args:
        records: of one rung; those without scores are passed over.
        labels: of the targets.
    """
    labels = tuple(labels)
    found: dict[Recipe, dict[str, list[tuple[float, float]]]] = {}
    for record in records:
        for label in labels:
            seen = record.on(label)
            if seen.ok and seen.latency is not None and seen.accuracy is not None and architecture_of(record.recipe):
                points = found.setdefault(architecture_of(record.recipe), {})
                points.setdefault(label, []).append((seen.latency.ratio, seen.accuracy))
    return {architecture: Candidate(architecture.digest, points) for architecture, points in found.items()}


def train(bench: Workbench, lesson: Lesson, architecture: Recipe, rung: int, seconds: float, note: str) -> list[Record]:
    """Distils an architecture for some seconds and scores it in every precision.

    Weights start from the rung below where they exist, otherwise from the repaired student. A training that was cut
    off goes on where it last saved itself; one that is done is not done again.

    Args:
        bench, lesson: of the run.
        architecture: recipe without precision.
        rung: 1 and up.
        seconds: to spend.
        note: how it was chosen.
    """
    path = weights_path(bench, architecture, rung)
    path.parent.mkdir(exist_ok=True)
    below = weights_path(bench, architecture, rung - 1)
    if path.exists() or below.exists():
        student = bench.space.build(architecture, repair=False)
    else:
        student = _copied(repaired(bench, architecture))
    if not path.exists():
        if below.exists():
            student.module.load_state_dict(load_file(below))
        _distil(bench, lesson, student, architecture, rung, seconds)
        write_atomic(path, save({k: v.contiguous() for k, v in student.module.state_dict().items()}))
        checkpoint_path(path).unlink(missing_ok=True)
    student.module.load_state_dict(load_file(path))
    spent_s = float(bench.ledger.get_fact(_spent_key(architecture, rung)) or 0.0)
    return [
        evaluate(
            bench,
            in_precision(bench, architecture, precision),
            rung,
            Student(student.module, cast(Precision, precision), student.keeps),
            spent_s,
            note,
        )
        for precision in _competing(bench, architecture)
    ]


def _copied(student: Student) -> Student:
    return replace(student, module=copy.deepcopy(student.module))


def _competing(bench: Workbench, architecture: Recipe) -> list[str]:
    """Precisions that a trained student is scored in: those that its repaired self was measured in and was not far
    slower in everywhere.

    Training changes no latency, so what has been measured holds. All, where nothing has been measured.
    """
    known = {name: bench.ledger.get(in_precision(bench, architecture, name), 0) for name in precisions(bench)}
    measured = {name: everywhere(record) for name, record in known.items() if record is not None and everywhere(record)}
    fastest = {
        label: min(latencies[label].ratio for latencies in measured.values() if label in latencies)
        for label in {label for latencies in measured.values() for label in latencies}
    }
    return [
        name
        for name, latencies in measured.items()
        if any(latency.ratio <= FAR_SLOWER * fastest[label] for label, latency in latencies.items())
    ] or list(known)


def checkpoint_path(path: Path) -> Path:
    """Where a training that is under way saves itself."""
    return path.with_suffix(".checkpoint")


def _distil(
    bench: Workbench, lesson: Lesson, student: Student, architecture: Recipe, rung: int, seconds: float
) -> None:
    share_left = sum(p.numel() for p in student.module.parameters()) / bench.teacher_cost.n_parameters
    seed = int(bench.seeded("training", architecture.digest, rung).integers(2**31))
    torch.manual_seed(seed)  # dropout and the like draw from the global generator
    training = distill(
        student.module,
        lesson,
        seconds,
        learning_rate(share_left) * (1.0 if rung == 1 else 0.8),
        torch.Generator().manual_seed(seed),
        bench.deadline.elapsed_s,
        lambda: beat(bench),
        checkpoint_path(weights_path(bench, architecture, rung)),
    )
    before_s = float(bench.ledger.get_fact(_spent_key(architecture, rung - 1)) or 0.0)
    bench.ledger.set_fact(_spent_key(architecture, rung), before_s + training.spent_s)


def _spent_key(architecture: Recipe, rung: int) -> str:
    return f"train_s:{architecture.digest}:{rung}"
