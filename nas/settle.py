"""Predicted to discard, measured to decide: which predicted latencies of a search are measured after all."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from latency_models.latency import Latency, Visit
from latency_models.model import Predicting
from nas.evaluate import artifact_of, beat
from nas.front import front_of
from nas.latencies import everywhere, timed
from nas.record import Record
from nas.workbench import Workbench, teacher_of

SHARE = 0.04
"""Of the time budget, for students beside the fronts that may still be on them; those on them are always measured."""


def recall(bench: Workbench) -> None:
    """Tells the models of a resumed search what it has measured before."""
    for record in bench.ledger.records():
        for label, latency in everywhere(record).items():
            model = bench.models.get(label)
            path = bench.run / record.artifact
            if isinstance(model, Predicting) and latency.source == "measured" and path.is_file():
                model.recall(artifact_of(bench, record), latency)


def settle(bench: Workbench) -> None:
    """Measures every student that may be on the front of a target and whose latency there is predicted.

    First those on the front as it stands, until it has no predicted member; then, as far as there is time, those whose
    interval says that they may be on it.
    """
    redo_drifted(bench)
    labels = [label for label, model in bench.models.items() if isinstance(model, Predicting)]
    end_s = bench.deadline.elapsed_s() + SHARE * bench.deadline.budget_s
    asked: set[tuple[str, str]] = set()
    for label in labels:
        while True:
            records = bench.ledger.records()
            waiting = [r for r in on_the_front(records, teacher_of(bench), label) if (r.id, label) not in asked]
            if not waiting and bench.deadline.elapsed_s() < end_s:
                waiting = [r for r in may_be_on_the_front(records, label) if (r.id, label) not in asked][:1]
            if not waiting:
                break
            bench.progress.phase("measuring students that may be on the front")
            for record in waiting:
                asked.add((record.id, label))
                _measure(bench, record, label)
    redo_drifted(bench)


def on_the_front(records: Iterable[Record], teacher: Record, label: str) -> list[Record]:
    """Members of a target's front on the validation set whose latency there is predicted."""
    members = front_of(records, teacher, test=False, target=label).members
    predicted = {one.id for one in members if one.latency is not None and one.latency.source == "predicted"}
    return [record for record in records if record.id in predicted]


def may_be_on_the_front(records: Sequence[Record], label: str) -> list[Record]:
    """Students with a predicted latency on a target that no other beats beyond doubt there, most accurate first.

    Beaten beyond doubt is who is no more accurate than another whose interval ends where its own begins. The same
    recipe at a higher rung stands for the lower ones.
    """
    scored = [(r, r.accuracy, there) for r in records if r.accuracy is not None and (there := _there(r, label))]
    found = []
    for record, accuracy, latency in scored:
        beaten = any(
            other is not record
            and better >= accuracy
            and (there.ratio_high <= latency.ratio_low or (other.recipe == record.recipe and other.rung > record.rung))
            for other, better, there in scored
        )
        if latency.source == "predicted" and not beaten and record.recipe:
            found.append(record)
    return sorted(found, key=lambda record: -(record.accuracy or 0.0))


def redo_drifted(bench: Workbench) -> None:
    """Measures again what a target's drift has made worthless; the visits concerned are set aside."""
    for label, model in bench.models.items():
        affected = model.take_affected() if isinstance(model, Predicting) else []
        if not affected:
            continue
        visits = {visit for _, visit in affected}
        records = [r for r in bench.ledger.records() if (there := _there(r, label)) and visits & set(there.visits)]
        if records:
            bench.progress.note(
                f"{label} has drifted: a student that was measured before takes another share of the teacher's latency "
                f"now. {len(records)} latencies are measured again"
            )
        for record in records:
            latency = everywhere(record)[label]
            kept = tuple(visit for visit in latency.visits if visit not in visits)
            _measure(bench, record, label, kept)


def _measure(bench: Workbench, record: Record, label: str, earlier: tuple[Visit, ...] = ()) -> None:
    """Puts a record with a measured latency on a target in the ledger's place of the old one."""
    below = None
    if earlier:
        latency = replace(everywhere(record)[label], visits=earlier)
        below = replace(record, latency=latency, elsewhere={})
    try:
        measured = timed(bench.models, artifact_of(bench, record), record, below, labels=[label])
    except (ValueError, OSError) as error:  # its file is gone or has changed
        bench.progress.note(f"{record.id} cannot be measured: {error}")
        return
    bench.ledger.put(measured)
    bench.progress.advance()
    beat(bench)


def _there(record: Record, label: str) -> Latency | None:
    return everywhere(record).get(label) if record.failure is None else None
