"""The rung of trained students: distilling an architecture for some seconds, and scoring it in its precisions."""

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

DISTILLED = 1
"""The rung of a student that was distilled."""
FAR_SLOWER = 1.3
"""A precision so much slower than another of the same student gains too little accuracy to be on the front."""


def weights_path(bench: Workbench, architecture: Recipe) -> Path:
    """Where an architecture's trained weights lie."""
    return bench.run / "weights" / f"{architecture.digest}-r{DISTILLED}.safetensors"


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


def train(bench: Workbench, lesson: Lesson, architecture: Recipe, seconds: float) -> list[Record]:
    """Distils a repaired architecture for some seconds and scores it in every precision.

    A training that was cut off goes on where it last saved itself; one that is done is not done again.

    Args:
        bench, lesson: of the run.
        architecture: recipe without precision.
        seconds: to spend.
    """
    path = weights_path(bench, architecture)
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        student = bench.space.build(architecture, repair=False)
        student.module.load_state_dict(load_file(path))
    else:
        known = repaired(bench, architecture)
        student = replace(known, module=copy.deepcopy(known.module))
        _distil(bench, lesson, student, architecture, seconds)
        write_atomic(path, save({k: v.contiguous() for k, v in student.module.state_dict().items()}))
        checkpoint_path(path).unlink(missing_ok=True)
    spent_s = float(bench.ledger.get_fact(_spent_key(architecture)) or 0.0)
    return [
        evaluate(
            bench,
            in_precision(bench, architecture, precision),
            DISTILLED,
            Student(student.module, cast(Precision, precision), student.keeps),
            spent_s,
            "distillation",
        )
        for precision in _competing(bench, architecture)
    ]


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


def _distil(bench: Workbench, lesson: Lesson, student: Student, architecture: Recipe, seconds: float) -> None:
    share_left = sum(p.numel() for p in student.module.parameters()) / bench.teacher_cost.n_parameters
    seed = int(bench.seeded("training", architecture.digest, DISTILLED).integers(2**31))
    torch.manual_seed(seed)  # dropout and the like draw from the global generator
    training = distill(
        student.module,
        lesson,
        seconds,
        learning_rate(share_left),
        torch.Generator().manual_seed(seed),
        bench.deadline.elapsed_s,
        lambda: beat(bench),
        checkpoint_path(weights_path(bench, architecture)),
    )
    bench.ledger.set_fact(_spent_key(architecture), training.spent_s)


def _spent_key(architecture: Recipe) -> str:
    return f"train_s:{architecture.digest}"
