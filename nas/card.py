"""The model card of one student: what it is, where it comes from, how good and how fast, how to load it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from latency_models.latency import Latency
from nas.front import precision_of
from nas.latencies import everywhere
from nas.record import Record
from nas.words import Sites, about, against_teacher, changes, estimate, milliseconds, percent, score, summary

_LONGEST_INLINE = 200
"""Up to so many raw samples stand in the card itself; more go into a JSON file beside it."""


def write_card(
    record: Record,
    teacher: Record,
    sites: Sites,
    folder: Path,
    facts: Mapping[str, str],
    metric: str = "accuracy",
    targets: Sequence[str] = (),
    chosen_for: str = "",
) -> Path:
    """Writes `<id>.md`, and `<id>.latency.json` beside it where the raw samples are many.

    Args:
        record: a scored student.
        teacher: the record of the empty recipe of the same run.
        sites: the teacher's sites.
        folder: where the card goes; it must exist.
        facts: what else to say of the run (teacher, SHA-256 of its weights, target, seed, versions), in this order.
        metric: name of the score; `accuracy` and `agreement` are shown in %.
        targets: labels of the run's targets; by default those that the record has a latency on.
        chosen_for: label of the target whose front it is on, where there are several targets.

    Raises:
        ValueError: the record has no latency.
    """
    latencies = everywhere(record)
    if not latencies:
        raise ValueError(f"{record.id} has no latency")
    labels = tuple(targets) or tuple(latencies)
    path = folder / f"{record.id}.md"
    is_share = metric in ("accuracy", "agreement")
    sections = (
        f"# Student {record.id}\n\n{_one_line(summary(record.recipe, sites))}",
        f"## What was changed\n\n{_recipe(record, sites)}",
        f"## Scores\n\n{_scores(record, teacher, metric, is_share)}",
        f"## Latency\n\n{_latencies(record, latencies, labels)}",
        f"## Lineage\n\n{_table(_lineage(record, facts))}",
        f"## Environment\n\n{_environment(record, latencies)}",
        f"## How to load it\n\n{_loading(record, chosen_for if len(labels) > 1 else '')}",
        f"## Raw latency samples\n\n{_raw(latencies, path)}",
    )
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return path


def _recipe(record: Record, sites: Sites) -> str:
    bullets = "\n".join(f"- {_one_line(line)}" for line in changes(record.recipe, sites)) or "- nothing"
    return f"{bullets}\n\nThe recipe as the run keeps it:\n\n{_fenced('json', record.recipe.to_json())}"


def _scores(record: Record, teacher: Record, metric: str, is_share: bool) -> str:
    lines = ["| | student | teacher | |", "|---|---:|---:|---:|"]
    pairs = (
        ("validation set", record.accuracy, teacher.accuracy),
        ("test set", record.test_accuracy, teacher.test_accuracy),
    )
    for name, mine, theirs in pairs:
        if mine is not None and theirs is not None:
            figures = (
                f"{score(mine, is_share)} | {score(theirs, is_share)} | {against_teacher(theirs - mine, is_share)}"
            )
            lines.append(f"| {_cell(metric)}, {name} | {figures} |")
    sizes = (
        ("parameters", record.n_parameters, teacher.n_parameters),
        ("multiply-accumulates", record.n_macs, teacher.n_macs),
    )
    for name, n_mine, n_theirs in (*sizes, ("bytes of the artifact", record.size_bytes, teacher.size_bytes)):
        share = percent(n_mine / n_theirs, 1) + " of the teacher's" if n_theirs else ""
        lines.append(f"| {name} | {n_mine:,} | {n_theirs:,} | {share} |")
    return "\n".join(lines) + "\n\nScores were taken through the ONNX file itself."


def _latencies(record: Record, latencies: Mapping[str, Latency], labels: Sequence[str]) -> str:
    """The latency on every target; of one target alone without a heading."""
    if len(labels) == 1 and labels[0] in latencies:
        return _latency(latencies[labels[0]])
    parts = []
    for label in labels:
        latency = latencies.get(label)
        said = " (estimate, not measured)" if latency is not None and latency.source == "predicted" else ""
        none = f"None: {_one_line(record.refusals.get(label, 'it was not timed there'))}"
        parts.append(f"### {_one_line(label)}{said}\n\n{none if latency is None else _latency(latency)}")
    return "\n\n".join(parts)


def _latency(latency: Latency) -> str:
    source = f"measured, {latency.n_samples} samples in {len(latency.visits)} visits, interleaved with the teacher"
    if latency.source == "predicted":
        source = f"predicted, not measured; {estimate(latency.known_error)}"

    def tilde(figure: str) -> str:
        return about(figure, latency.source)

    return _table(
        {
            "seconds per inference": f"{tilde(milliseconds(latency.median_s))} (95 % interval "
            f"{milliseconds(latency.low_s)} to {milliseconds(latency.high_s)})",
            "share of the teacher's": f"{tilde(percent(latency.ratio))} (95 % interval "
            f"{percent(latency.ratio_low)} to {percent(latency.ratio_high)})",
            "speed-up": tilde(f"{1 / latency.ratio:.2f}"),
            "target": latency.target,
            "source": source,
        }
    )


def _environment(record: Record, latencies: Mapping[str, Latency]) -> str:
    """What it was trained and timed with; what differs between targets is said of each."""
    if len(latencies) == 1:
        (latency,) = latencies.values()
        return _table({**latency.environment, **record.environment})
    rows = dict(record.environment)
    for label, latency in latencies.items():
        rows |= {f"{name} ({label})": text for name, text in latency.environment.items() if rows.get(name) != text}
    return _table(rows)


def _lineage(record: Record, facts: Mapping[str, str]) -> dict[str, str]:
    return {
        **facts,
        "recipe digest": record.recipe.digest,
        "rung": f"{record.rung} ({'repaired only' if record.rung == 0 else 'distilled'})",
        "seconds of distillation": f"{record.train_s:.1f}",
        "seed": str(record.seed),
        "how it came about": record.note,
        "precision": precision_of(record),
        "artifact": record.artifact,
        "SHA-256 of the artifact": record.artifact_digest,
    }


def _loading(record: Record, chosen_for: str) -> str:
    code = (
        "import onnxruntime\n\n"
        f"session = onnxruntime.InferenceSession({record.artifact!r})  # path from the run's folder\n"
        "names = [node.name for node in session.get_inputs()]\n"
        "outputs = session.run(None, dict(zip(names, inputs)))  # inputs: one float32 array for each input"
    )
    target = f" --target {chosen_for}" if chosen_for else ""
    export = f"nas export results/<run> --pick {record.id}{target} --out student.onnx"
    return f"{_fenced('python', code)}\n\nOr take it out of the run:\n\n{_fenced('sh', export)}"


def _raw(latencies: Mapping[str, Latency], path: Path) -> str:
    measured = {label: latency for label, latency in latencies.items() if latency.visits}
    if not measured:
        return "None: no latency was measured."
    words = "Seconds, one entry a visit; `anchor_s` is the teacher, each entry taken right beside its candidate's."
    samples = {label: _visits(latency) for label, latency in measured.items()}
    text = json.dumps(samples if len(latencies) > 1 else next(iter(samples.values())))
    if sum(latency.n_samples for latency in measured.values()) <= _LONGEST_INLINE:
        return f"{words}\n\n{_fenced('json', text)}"
    beside = path.with_suffix(".latency.json")
    beside.write_text(text + "\n", encoding="utf-8")
    return f"{words} They lie in [{beside.name}]({beside.name})."


def _visits(latency: Latency) -> list[dict[str, tuple[float, ...]]]:
    return [{"candidate_s": visit.candidate_s, "anchor_s": visit.anchor_s} for visit in latency.visits]


def _table(rows: Mapping[str, str]) -> str:
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _cell(text: str) -> str:
    """Text that neither ends a table cell nor starts HTML."""
    return _one_line(text).replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
