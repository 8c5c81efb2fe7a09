"""The model card of one student: what it is, where it comes from, how good and how fast, how to load it."""

import json
from collections.abc import Mapping
from pathlib import Path

from latency_models.latency import Latency
from nas.front import latency_of, precision_of
from nas.record import Record
from nas.words import Sites, against_teacher, changes, milliseconds, percent, score, summary

_LONGEST_INLINE = 200
"""Up to so many raw samples stand in the card itself; more go into a JSON file beside it."""


def write_card(
    record: Record, teacher: Record, sites: Sites, folder: Path, facts: Mapping[str, str], metric: str = "accuracy"
) -> Path:
    """Writes `<id>.md`, and `<id>.latency.json` beside it where the raw samples are many.

    Args:
        record: a scored student.
        teacher: the record of the empty recipe of the same run.
        sites: the teacher's sites.
        folder: where the card goes; it must exist.
        facts: what else to say of the run (teacher, SHA-256 of its weights, target, seed, versions), in this order.
        metric: name of the score; `accuracy` and `agreement` are shown in %.

    Raises:
        ValueError: the record or the teacher has no latency.
    """
    path = folder / f"{record.id}.md"
    samples = _samples(latency_of(record))
    is_share = metric in ("accuracy", "agreement")
    sections = (
        f"# Student {record.id}\n\n{_one_line(summary(record.recipe, sites))}",
        f"## What was changed\n\n{_recipe(record, sites)}",
        f"## Scores\n\n{_scores(record, teacher, metric, is_share)}",
        f"## Latency\n\n{_latency(latency_of(record))}",
        f"## Lineage\n\n{_table(_lineage(record, facts))}",
        f"## Environment\n\n{_table({**latency_of(record).environment, **record.environment})}",
        f"## How to load it\n\n{_loading(record)}",
        f"## Raw latency samples\n\n{_raw(samples, path, latency_of(record).n_samples)}",
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


def _latency(latency: Latency) -> str:
    how = f"measured, {latency.n_samples} samples in {len(latency.visits)} visits, interleaved with the teacher"
    return _table(
        {
            "seconds per inference": f"{milliseconds(latency.median_s)} (95 % interval "
            f"{milliseconds(latency.low_s)} to {milliseconds(latency.high_s)})",
            "share of the teacher's": f"{percent(latency.ratio)} (95 % interval "
            f"{percent(latency.ratio_low)} to {percent(latency.ratio_high)})",
            "speed-up": f"{1 / latency.ratio:.2f}",
            "target": latency.target,
            "source": how if latency.source == "measured" else "predicted, not measured",
        }
    )


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


def _loading(record: Record) -> str:
    code = (
        "import onnxruntime\n\n"
        f"session = onnxruntime.InferenceSession({record.artifact!r})  # path from the run's folder\n"
        "names = [node.name for node in session.get_inputs()]\n"
        "outputs = session.run(None, dict(zip(names, inputs)))  # inputs: one float32 array for each input"
    )
    export = f"nas export results/<run> --pick {record.id} --out student.onnx"
    return f"{_fenced('python', code)}\n\nOr take it out of the run:\n\n{_fenced('sh', export)}"


def _samples(latency: Latency) -> str:
    visits = [{"candidate_s": visit.candidate_s, "anchor_s": visit.anchor_s} for visit in latency.visits]
    return json.dumps(visits)


def _raw(samples: str, path: Path, n_samples: int) -> str:
    words = "Seconds, one entry a visit; `anchor_s` is the teacher, each entry taken right beside its candidate's."
    if n_samples <= _LONGEST_INLINE:
        return f"{words}\n\n{_fenced('json', samples)}"
    beside = path.with_suffix(".latency.json")
    beside.write_text(samples + "\n", encoding="utf-8")
    return f"{words} They lie in [{beside.name}]({beside.name})."


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
