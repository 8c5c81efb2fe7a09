"""Where training is spent: a short distillation for what looks promising at each latency, a long one for the best."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save

from latency_models.artifact import Precision
from nas.distill import Lesson, distill, learning_rate
from nas.evaluate import architecture_of, beat, evaluate, in_precision, precisions
from nas.files import write_atomic
from nas.latencies import everywhere
from nas.record import Record
from nas.workbench import Workbench
from search_spaces.recipe import Recipe
from search_spaces.transform import Student

LEVELS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.17)
"""Latencies that students are trained for, as shares of the budget: the front is wanted below it too."""


FAR_SLOWER = 1.3
"""A precision so much slower than another of the same student gains too little accuracy to be on the front."""


def weights_path(bench: Workbench, architecture: Recipe, rung: int) -> Path:
    """Where an architecture's trained weights lie."""
    return bench.run / "weights" / f"{architecture.digest}-r{rung}.safetensors"


def levels(budget_ratio: float) -> list[float]:
    """Latency ratios that students are trained for, the budget first."""
    return [min(budget_ratio, 1.0) * level for level in LEVELS]


def promising(records: Iterable[Record], level: float, n: int, taken: Sequence[Recipe] = ()) -> list[Recipe]:
    """The architectures with the best scores among those that meet a latency, best first, each once.

    Only those that use at least half of what the level allows compete, as long as there are any: what is much faster
    competes at a lower level.

    Args:
        records: with scores.
        level: share of the teacher's latency that the interval's upper end must meet.
        n: how many.
        taken: architectures to pass over.
    """
    fitting = [r for r in records if r.ok and r.recipe and r.latency and r.latency.ratio_high <= level]
    near = [r for r in fitting if r.latency and r.latency.ratio >= 0.5 * level]
    ranked = sorted(near or fitting, key=lambda r: -(r.accuracy or 0.0))
    found: list[Recipe] = []
    for record in ranked:
        architecture = architecture_of(record.recipe)
        if architecture not in found and architecture not in taken and architecture:
            found.append(architecture)
    return found[:n]


def spread(views: Mapping[str, Sequence[Record]], wanted: Mapping[str, Sequence[float]], n: int) -> list[Recipe]:
    """Up to n architectures over these latencies, the best of each level first, then the second best of each.

    A level that nothing reaches leaves its places to the others. Targets take turns.

    Args:
        views: by target, the records as it sees them.
        wanted: by target, the latency levels.
        n: how many.
    """
    n_levels = max(map(len, wanted.values()), default=0)
    turns = [(label, own[i]) for i in range(n_levels) for label, own in wanted.items() if i < len(own)]
    found: list[Recipe] = []
    grown = True
    while grown and len(found) < n:
        before = len(found)
        for label, level in turns:
            found += promising(views[label], level, 1, found)
        grown = len(found) > before
    return found[:n]


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
    student = bench.space.build(architecture, repair=False)
    if not path.exists():
        below = weights_path(bench, architecture, rung - 1)
        if below.exists():
            student.module.load_state_dict(load_file(below))
        else:
            student = bench.space.build(architecture)
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


def _competing(bench: Workbench, architecture: Recipe) -> list[str]:
    """Precisions that a trained student is scored in: not those that its repaired self was far slower in everywhere.

    Training changes no latency, so what has been measured holds.
    """
    known = {name: bench.ledger.get(in_precision(bench, architecture, name), 0) for name in precisions(bench)}
    measured = {name: everywhere(record) for name, record in known.items() if record is not None}
    fastest = {
        label: min(latencies[label].ratio for latencies in measured.values() if label in latencies)
        for label in {label for latencies in measured.values() for label in latencies}
    }
    return [
        name
        for name in known
        if not measured.get(name)
        or any(latency.ratio <= FAR_SLOWER * fastest[label] for label, latency in measured[name].items())
    ]


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
