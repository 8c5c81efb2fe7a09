"""The last word on the front: each member timed again in spread visits beside the teacher, and scored once on the
test set, all through the very file that is shipped."""

from collections.abc import Sequence
from dataclasses import replace

from safetensors.torch import load_file

from latency_models.latency import Visit
from latency_models.onnxruntime_backend import load
from latency_models.timing import Plan, median_anchor_s, visit
from nas.accuracy import ScoredSet, score
from nas.evaluate import architecture_of, artifact_of
from nas.export import feed, parity, save_student
from nas.front import front_of
from nas.record import Record
from nas.rungs import beat, weights_path
from nas.workbench import N_PARITY, Workbench, latency_of_visits
from search_spaces.recipe import Recipe
from search_spaces.transform import Student

N_VISITS = 3
STUDENTS = "students"


def finalists(records: Sequence[Record], teacher: Record, n_max: int) -> list[Record]:
    """The front on the validation set; where it is longer than `n_max`, spread over the latencies."""
    best: dict[Recipe, Record] = {}
    for record in records:  # two rungs of one recipe are one student: the latency is the same but for noise
        if record.ok and (record.recipe not in best or _score(record) > _score(best[record.recipe])):
            best[record.recipe] = record
    members = front_of(best.values(), teacher, test=False).members
    if len(members) <= n_max:
        return list(members)
    step = (len(members) - 1) / max(n_max - 1, 1)
    return [members[round(index * step)] for index in range(n_max)]


def _score(record: Record) -> float:
    assert record.accuracy is not None
    return record.accuracy


def confirm(bench: Workbench, members: Sequence[Record], teacher: Record) -> None:
    """Times all members in rounds, checks the files, scores them on the test set and writes the records back.

    Members that have a test score already were confirmed before an interruption and are left as they are.
    """
    waiting = [record for record in (teacher, *members) if record.test_accuracy is None]
    if not waiting:
        return
    artifacts = {record.id: artifact_of(bench, record) for record in waiting}
    runners = {name: load(artifact, bench.target, feed(bench.example)) for name, artifact in artifacts.items()}
    visits: dict[str, tuple[Visit, ...]] = {
        record.id: record.latency.visits if record.latency else () for record in waiting
    }
    for _ in range(N_VISITS):
        for name, runner in runners.items():
            visits[name] = (*visits[name], visit({name: runner}, bench.anchor, Plan())[name])
            beat(bench)
    # One latency of the teacher for all, or milliseconds of visits at different times would contradict the ratios.
    # Kept, so that a confirmation that was cut off goes on with the same one.
    anchor_s = bench.ledger.get_fact("anchor_s")
    if anchor_s is None:
        anchor_s = median_anchor_s(one for some in visits.values() for one in some)
        bench.ledger.set_fact("anchor_s", anchor_s)
    test = ScoredSet.of(bench.task, bench.task.data.test)
    (bench.run / STUDENTS).mkdir(exist_ok=True)
    for record in waiting:
        student = student_of(bench, record)
        try:
            difference = parity(artifacts[record.id], student, bench.validation.split.first(N_PARITY).inputs)
        except ValueError as error:
            bench.progress.note(f"{record.id} is left out of the front: {error}")
            continue
        save_student(student, record.recipe, bench.example, bench.run / STUDENTS / f"{record.id}.safetensors")
        value = score(bench.task, artifacts[record.id], test, bench.n_threads)
        bench.ledger.put(
            replace(
                record,
                latency=latency_of_visits(bench, visits[record.id], anchor_s),
                test_accuracy=value,
                environment={**record.environment, "parity": f"{difference:.3g}"},
            )
        )
        bench.progress.advance()
        beat(bench)


def student_of(bench: Workbench, record: Record) -> Student:
    """The module behind a record, with the weights of its rung."""
    if record.rung == 0:
        return bench.space.build(record.recipe)
    student = bench.space.build(record.recipe, repair=False)
    student.module.load_state_dict(load_file(weights_path(bench, architecture_of(record.recipe), record.rung)))
    return student
