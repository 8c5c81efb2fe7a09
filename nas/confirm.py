"""The last word on the front: each member timed again in spread visits beside the teacher, and scored once on the
test set, all through the very file that is shipped."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from safetensors.torch import load_file

from latency_models.timing import median_anchor_s
from nas.accuracy import ScoredSet, score
from nas.evaluate import architecture_of, artifact_of, beat
from nas.export import parity, save_student
from nas.front import front_of
from nas.latencies import Models, everywhere, timed, visits_of
from nas.record import Record
from nas.rungs import weights_path
from nas.workbench import N_PARITY, Workbench
from search_spaces.recipe import Recipe
from search_spaces.transform import Student

N_VISITS = 3
STUDENTS = "students"


def finalists(records: Sequence[Record], teacher: Record, n_max: int, labels: Sequence[str] = ()) -> list[Record]:
    """The fronts of all targets on the validation set; where they are too long, spread over the latencies.

    Args:
        records: of the run.
        teacher: its record.
        n_max: members in all.
        labels: of the targets; by default the one that `teacher.latency` holds for.
    """
    labels = labels or list(everywhere(teacher))
    fronts = [_front(records, teacher, label) for label in labels]
    found: dict[str, Record] = {}
    n_each = n_max
    # Fronts share members, so each may have more than its even part.
    while n_each:
        chosen = {record.id: record for front in fronts for record in _thinned(front, n_each)}
        if len(chosen) <= n_max or n_each == 1:
            found = chosen
            break
        n_each -= 1
    originals = {record.id: record for record in records}
    return [originals[name] for name in found]


def _front(records: Sequence[Record], teacher: Record, label: str) -> list[Record]:
    best: dict[Recipe, Record] = {}
    for record in (one.on(label) for one in records):
        # Two rungs of one recipe are one student: the latency is the same but for noise.
        if record.ok and (record.recipe not in best or _score(record) > _score(best[record.recipe])):
            best[record.recipe] = record
    return list(front_of(best.values(), teacher.on(label), test=False).members)


def _thinned(members: Sequence[Record], n_max: int) -> list[Record]:
    if len(members) <= n_max:
        return list(members)
    step = (len(members) - 1) / max(n_max - 1, 1)
    return [members[round(index * step)] for index in range(n_max)]


def _score(record: Record) -> float:
    assert record.accuracy is not None
    return record.accuracy


def confirm(bench: Workbench, members: Sequence[Record], teacher: Record) -> None:
    """Times all members in rounds on every target, checks the files, scores them on the test set, writes the records.

    Members that have a test score already were confirmed before an interruption and are left as they are.
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
        for name, artifact in artifacts.items():
            visited[name] = timed(bench.models, artifact, visited[name], visited[name], anchors_s)
            beat(bench)
    test = ScoredSet.of(bench.task, bench.task.data.test)
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
        environment = {**record.environment, "parity": f"{difference:.3g}"}
        bench.ledger.put(replace(record, test_accuracy=value, environment=environment))
        bench.progress.advance()
        beat(bench)


def _anchors_s(models: Models, records: Iterable[Record]) -> dict[str, float]:
    """One latency of the teacher for all members on each target that measures, or milliseconds of visits at different
    times would contradict the ratios. Kept, so that a confirmation that was cut off goes on with the same ones."""
    visits = {label: [visit for record in records for visit in visits_of(record, label)] for label in models}
    return {label: median_anchor_s(some) for label, some in visits.items() if some}


def student_of(bench: Workbench, record: Record) -> Student:
    """The module behind a record, with the weights of its rung."""
    if record.rung == 0:
        return bench.space.build(record.recipe)
    student = bench.space.build(record.recipe, repair=False)
    student.module.load_state_dict(load_file(weights_path(bench, architecture_of(record.recipe), record.rung)))
    return student
