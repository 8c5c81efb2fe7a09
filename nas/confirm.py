"""The last word on the front: each member timed again in spread visits beside the teacher, and scored once on the
test set, all through the very file that is shipped."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from safetensors.torch import load_file

from latency_models.timing import median_anchor_s
from nas.accuracy import ScoredSet, score
from nas.data import Split
from nas.evaluate import architecture_of, artifact_of, beat, repaired
from nas.export import parity, save_student
from nas.front import front_of
from nas.latencies import Models, everywhere, timed_together, visits_of
from nas.pareto import hypervolume
from nas.record import Record
from nas.rungs import weights_path
from nas.workbench import N_PARITY, Workbench
from search_spaces.recipe import Recipe
from search_spaces.transform import Student

N_VISITS = 3
N_LAYERS = 3
"""Fronts behind one another that are confirmed where there is time."""
STUDENTS = "students"


def finalists(
    records: Sequence[Record], teacher: Record, n_max: int, labels: Sequence[str] = (), floor: float = -math.inf
) -> list[Record]:
    """The fronts of all targets on the validation set; where they are too long, those members that cover most.

    Where they are short, what would be the front without them comes too: one latency of the search is soon off. Always
    there is the teacher's own architecture in other precisions: it is what a user has without a search.

    Args:
        records: of the run.
        teacher: its record.
        n_max: members in all, but for the teacher's own architecture.
        labels: of the targets; by default the one that `teacher.latency` holds for.
        floor: accuracy below which a member matters less; by default that of the worst member.
    """
    labels = labels or list(everywhere(teacher))
    first = [record for label in labels for record in _front(records, teacher, label)]
    floor = max(floor, min(map(_score, first), default=0.0) - 1e-3)
    fronts = [_layers(records, teacher, label, n_max, floor) for label in labels]
    found: dict[str, Record] = {}
    n_each = n_max
    # Fronts share members, so each may have more than its even part.
    while n_each:
        chosen = {record.id: record for front in fronts for record in _thinned(front, n_each, floor)}
        if len(chosen) <= n_max or n_each == 1:
            found = chosen
            break
        n_each -= 1
    originals = {record.id: record for record in records}
    plain = [r.id for r in records if r.ok and r.recipe and not architecture_of(r.recipe) and r.id not in found]
    return [originals[name] for name in (*found, *plain)]


def _front(records: Sequence[Record], teacher: Record, label: str) -> list[Record]:
    best: dict[Recipe, Record] = {}
    for record in (one.on(label) for one in records):
        # Two rungs of one recipe are one student, with the same latency but for noise. Training keeps no weights that
        # are worse than before, so the higher one stands, whatever a few validation samples more or less say.
        if record.ok and (record.recipe not in best or record.rung > best[record.recipe].rung):
            best[record.recipe] = record
    return list(front_of(best.values(), teacher.on(label), test=False).members)


def _layers(records: Sequence[Record], teacher: Record, label: str, n_least: int, floor: float) -> list[Record]:
    """The front, and while it has fewer members what covers most of the front of the rest."""
    found: list[Record] = []
    rest = list(records)
    for _ in range(N_LAYERS):
        layer = _front(rest, teacher, label)
        room = n_least - len(found)
        if not layer or (found and room <= 0):
            break
        found += _thinned(layer, room, floor) if found else layer
        taken = {record.recipe for record in layer}
        rest = [record for record in rest if record.recipe not in taken]
    return found


def _thinned(members: Sequence[Record], n_max: int, floor: float) -> list[Record]:
    """Those that cover most together, one after the other (greedy hypervolume subset selection, Guerreiro et al. 2016),
    down to an accuracy; what lies below that comes last, the most accurate first."""
    if len(members) <= n_max:
        return list(members)
    chosen: list[Record] = []
    waiting = sorted(members, key=lambda record: -_score(record))
    while len(chosen) < n_max:
        best = max(waiting, key=lambda record: _covered([*chosen, record], floor))
        chosen.append(best)
        waiting.remove(best)
    return chosen


def _covered(records: Sequence[Record], floor: float) -> float:
    points = [(record.latency.ratio, _score(record)) for record in records if record.latency]
    return hypervolume(np.array(points), 1.0, floor)


def _score(record: Record) -> float:
    assert record.accuracy is not None
    return record.accuracy


def confirm(bench: Workbench, members: Sequence[Record], teacher: Record, n_test: Callable[[], int]) -> None:
    """Times all members in rounds on every target, checks the files, scores them on the test set, writes the records.

    Members that have a test score already were confirmed before an interruption and are left as they are.

    Args:
        bench: of the run.
        members, teacher: records.
        n_test: asked once all are timed, how many samples of the test set there is time for; they are drawn once a run.
    """
    waiting = [record for record in (teacher, *members) if record.test_accuracy is None]
    if not waiting:
        return
    artifacts = {record.id: artifact_of(bench, record) for record in waiting}
    visited = {record.id: record for record in waiting}
    anchors_s = bench.ledger.get_fact("anchors_s")
    for index in range(N_VISITS):
        if index == N_VISITS - 1 and anchors_s is None:
            anchors_s = _anchors_s(bench.models, visited.values())
            bench.ledger.set_fact("anchors_s", anchors_s)
        visited = timed_together(bench.models, artifacts, visited, anchors_s, lambda: beat(bench))
    test = ScoredSet.of(bench.task, _drawn(bench, n_test()))
    (bench.run / STUDENTS).mkdir(exist_ok=True)
    for record in visited.values():
        student = student_of(bench, record)
        try:
            difference = parity(artifacts[record.id], student, bench.validation.split.first(N_PARITY).inputs)
        except ValueError as error:
            bench.progress.note(f"{record.id} is left out of the front: {error}")
            continue
        save_student(student, record.recipe, bench.example, bench.run / STUDENTS / f"{record.id}.safetensors")
        value = score(bench.task, artifacts[record.id], test, bench.n_threads)
        environment = {**record.environment, "parity": f"{difference:.3g}", "n_test": str(len(test.split))}
        bench.ledger.put(replace(record, test_accuracy=value, environment=environment))
        bench.progress.advance()
        beat(bench)


def _drawn(bench: Workbench, n: int) -> Split:
    test = bench.task.data.test
    n = int(bench.ledger.get_fact("n_test") or min(n, len(test)))
    bench.ledger.set_fact("n_test", n)
    if n == len(test):
        return test
    bench.progress.note(f"Time is short: test scores rest on {n} of {len(test)} samples")
    return test.take(torch.from_numpy(bench.seeded("test").permutation(len(test))[:n]))


def _anchors_s(models: Models, records: Iterable[Record]) -> dict[str, float]:
    """One latency of the teacher for all members on each target that measures, or milliseconds of visits at different
    times would contradict the ratios. Kept, so that a confirmation that was cut off goes on with the same ones."""
    visits = {label: [visit for record in records for visit in visits_of(record, label)] for label in models}
    return {label: median_anchor_s(some) for label, some in visits.items() if some}


def student_of(bench: Workbench, record: Record) -> Student:
    """The module behind a record, with the weights of its rung."""
    if record.rung == 0:
        return repaired(bench, record.recipe)
    student = bench.space.build(record.recipe, repair=False)
    student.module.load_state_dict(load_file(weights_path(bench, architecture_of(record.recipe))))
    return student
