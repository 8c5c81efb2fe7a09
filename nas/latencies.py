"""An artifact's latencies on every target of a run, and where they go in its record."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from latency_models.artifact import Artifact
from latency_models.errors import DeviceError, LatencyError
from latency_models.latency import Latency, Visit
from latency_models.model import Interleaving, LatencyModel, Predicting
from nas.record import Record

OUT_OF_REACH = "out of reach: "
"""How a refusal begins that says nothing of the student: the device was away, and is asked again later."""

N_TOGETHER = 4
"""Artifacts that are visited at once: the anchor takes a quarter of the time then, and small devices hold them."""

Models = Mapping[str, LatencyModel]
"""By the labels of their targets, in the order the user gave them."""


def everywhere(record: Record) -> dict[str, Latency]:
    """All latencies of a record by the labels of their targets."""
    first = {} if record.latency is None else {record.latency.target: record.latency}
    return {**first, **record.elsewhere}


def visits_of(record: Record | None, label: str) -> tuple[Visit, ...]:
    """The visits a record has on a target; none where there is no record."""
    latency = everywhere(record).get(label) if record is not None else None
    return () if latency is None else latency.visits


def timed(
    models: Models,
    artifact: Artifact,
    record: Record,
    below: Record | None = None,
    anchors_s: Mapping[str, float] | None = None,
    labels: Iterable[str] | None = None,
    spare: bool = False,
) -> Record:
    """The record with one more visit of its artifact on each target.

    A target that is out of reach keeps the latency it gave before, if any.

    Args:
        models: of the run.
        artifact: the record's.
        record: gets the latencies and refusals.
        below: whose visits are counted too, as the artifact does the same work: the rung below, or the record itself.
        anchors_s: the teacher's latency by target, where it is known better than from these visits.
        labels: of the targets to ask; by default all.
        spare: whether no clock is needed where the model of a target predicts: visits that it had before will do, and
            a prediction where it is repaired only: who is trained is measured.
    """
    found, refusals = everywhere(record), dict(record.refusals)
    for label in models if labels is None else labels:
        model = models[label]
        reason = model.refusal(artifact.precision)
        if reason is None:
            anchor_s = None if anchors_s is None else anchors_s.get(label)
            try:
                earlier = visits_of(below, label)
                known = _without_clock(model, artifact, earlier, record.rung) if spare else None
                found[label] = known or model.latency(artifact, earlier, anchor_s)
                refusals.pop(label, None)
                continue
            except DeviceError as error:
                reason = OUT_OF_REACH + str(error)
            except LatencyError as error:
                found.pop(label, None)
                reason = str(error)
        if label not in found:
            refusals[label] = reason
    return _with(record, models, found, refusals)


def _with(record: Record, models: Models, found: Mapping[str, Latency], refusals: Mapping[str, str]) -> Record:
    first = next(iter(models))
    return replace(
        record,
        latency=found.get(first),
        elsewhere={label: found[label] for label in models if label in found and label != first},
        refusals=refusals,
    )


def _without_clock(model: LatencyModel, artifact: Artifact, earlier: tuple[Visit, ...], rung: int) -> Latency | None:
    """What is known of an artifact that need not be measured now."""
    if not isinstance(model, Predicting):
        return None
    if earlier:
        return model.latency_from(earlier)
    return model.predicted(artifact) if rung == 0 else None


def timed_together(
    models: Models,
    artifacts: Mapping[str, Artifact],
    records: Mapping[str, Record],
    anchors_s: Mapping[str, float] | None = None,
    report: Callable[[], None] = lambda: None,
) -> dict[str, Record]:
    """The records with one more visit of their artifacts on each target, interleaved `N_TOGETHER` at a time.

    Args:
        models: of the run.
        artifacts: by name.
        records: by the same names; their own visits are counted too.
        anchors_s: as for `timed`.
        report: called after each few visits.
    """
    found = dict(records)
    names = list(artifacts)
    for label, model in models.items():
        for start in range(0, len(names), N_TOGETHER):
            group = names[start : start + N_TOGETHER]
            latencies = _interleaved(model, label, {name: artifacts[name] for name in group}, found, anchors_s)
            for name in group:
                if name in latencies:
                    record = found[name]
                    latencies_of = {**everywhere(record), label: latencies[name]}
                    refusals = {other: reason for other, reason in record.refusals.items() if other != label}
                    found[name] = _with(record, models, latencies_of, refusals)
                else:
                    found[name] = timed(models, artifacts[name], found[name], found[name], anchors_s, [label])
            report()
    return found


def _interleaved(
    model: LatencyModel,
    label: str,
    artifacts: Mapping[str, Artifact],
    records: Mapping[str, Record],
    anchors_s: Mapping[str, float] | None,
) -> dict[str, Latency]:
    """Latencies of artifacts that are visited together; none where one of them fails or the target cannot do it."""
    able = {name: one for name, one in artifacts.items() if model.refusal(one.precision) is None}
    if not isinstance(model, Interleaving) or len(able) < 2:
        return {}
    earlier = {name: visits_of(records[name], label) for name in able}
    try:
        return model.latencies(able, earlier, None if anchors_s is None else anchors_s.get(label))
    except LatencyError:
        return {}


def refused_everywhere(record: Record) -> bool:
    """Whether no target can ever time it, so that it is a failure."""
    return not everywhere(record) and not any(reason.startswith(OUT_OF_REACH) for reason in record.refusals.values())


def out_of_reach(record: Record) -> list[str]:
    """Labels of the targets that were away when it was timed."""
    return [label for label, reason in record.refusals.items() if reason.startswith(OUT_OF_REACH)]
