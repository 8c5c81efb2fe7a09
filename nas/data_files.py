"""What a run found as data, a row for each record and target: `front.csv`, `targets.csv`, `records.parquet`."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from latency_models.latency import Latency
from nas.front import FRONT_COLUMNS, Front
from nas.fronts import Gap, Gaps
from nas.latencies import everywhere
from nas.record import Record
from nas.time_used import PhaseTime

# fmt: off
GAP_COLUMNS = (
    "id", "chosen_for", "run_on", "accuracy", "chosen_for_ratio", "chosen_for_source", "ratio", "ratio_low",
    "ratio_high", "latency_source", "known_error", "on_both_fronts", "slower", "accuracy_lost", "rival",
    "indistinguishable", "missing",
)
_TEXTS = ("id", "recipe", "failure", "refusal", "note", "artifact", "artifact_digest", "environment", "target",
          "latency_source", "latency_environment")
_COUNTS = ("rung", "n_parameters", "n_macs", "size_bytes", "seed")
_FIGURES = ("accuracy", "test_accuracy", "train_s", "latency_s", "latency_low_s", "latency_high_s", "latency_ratio",
            "ratio_low", "ratio_high", "known_error")
# fmt: on
_SAMPLES = ("candidate_samples_s", "anchor_samples_s")
_FIELDS = {
    **dict.fromkeys(_TEXTS, pa.string()),
    **dict.fromkeys(_COUNTS, pa.int64()),
    **dict.fromkeys(_FIGURES, pa.float64()),
    **dict.fromkeys(_SAMPLES, pa.list_(pa.list_(pa.float64()))),
}


def write_fronts(fronts: Mapping[str, Front], folder: Path) -> Path:
    """Writes `front.csv` into the folder, the rows of all fronts in the order of targets, and returns its path."""
    path = folder / "front.csv"
    _write_csv(path, FRONT_COLUMNS, (row for front in fronts.values() for row in front.table()))
    return path


def write_gaps(gaps: Iterable[Gaps], folder: Path) -> Path:
    """Writes `targets.csv`: a row for each member of a front and each other target; columns `GAP_COLUMNS`."""
    path = folder / "targets.csv"
    _write_csv(path, GAP_COLUMNS, (_gap_row(pair, gap) for pair in gaps for gap in pair.gaps))
    return path


def write_times(times: Sequence[PhaseTime], folder: Path) -> Path:
    """Writes `time.csv`: a row for each phase of the search, with the fields of `PhaseTime`."""
    path = folder / "time.csv"
    _write_csv(path, [field.name for field in fields(PhaseTime)], (asdict(one) for one in times))
    return path


def write_records(records: Iterable[Record], path: Path, targets: Sequence[str] = ()) -> Path:
    """Writes all records, failures included, as Parquet, the latency flattened, raw samples as lists.

    Args:
        records: of one run.
        path: the file.
        targets: labels of the run's targets: each record gets a row for each. By default those that any latency
            holds for.
    """
    records = list(records)
    labels = targets or tuple(dict.fromkeys(label for record in records for label in everywhere(record))) or (None,)
    rows = [_record_row(record, label) for record in records for label in labels]
    pq.write_table(_table(rows), path)
    return path


def _table(rows: Sequence[Mapping[str, object]]) -> pa.Table:
    """By way of JSON: whatever else makes a table from Python's lists imports pandas, which takes 0.4 CPU seconds."""
    schema = pa.schema(_FIELDS)
    if not rows:
        return schema.empty_table()
    text = "\n".join(json.dumps(row, allow_nan=False) for row in rows).encode()
    options = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    whole = pyarrow.json.ReadOptions(block_size=len(text) + 1, use_threads=False)
    return pyarrow.json.read_json(io.BytesIO(text), whole, options).select(list(_FIELDS))


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _gap_row(pair: Gaps, gap: Gap) -> dict[str, object]:
    record, latency = gap.record, gap.record.latency
    row: dict[str, object] = {
        "id": record.id,
        "chosen_for": pair.chosen_for,
        "run_on": pair.run_on,
        "accuracy": record.accuracy if record.test_accuracy is None else record.test_accuracy,
        "chosen_for_ratio": gap.chosen.ratio,
        "chosen_for_source": gap.chosen.source,
        "missing": gap.missing,
    }
    if latency is not None:
        row |= {"ratio": latency.ratio, "ratio_low": latency.ratio_low, "ratio_high": latency.ratio_high}
        row |= {"latency_source": latency.source, "known_error": latency.known_error}
    if gap.rival is not None:
        row |= {"on_both_fronts": gap.rival is record, "slower": gap.slower, "accuracy_lost": gap.accuracy_lost}
        row |= {"rival": gap.rival.id, "indistinguishable": gap.tied}
    return row


def _record_row(record: Record, target: str | None) -> dict[str, object]:
    row: dict[str, object] = {
        **{name: getattr(record, name) for name in _FIELDS if hasattr(record, name)},
        "recipe": record.recipe.to_json(),
        "environment": json.dumps(dict(record.environment), sort_keys=True),
        "target": target,
    }
    if target is None:
        return row
    latency = everywhere(record).get(target)
    return row | {"refusal": record.refusals.get(target)} | ({} if latency is None else _latency_columns(latency))


def _latency_columns(latency: Latency) -> dict[str, object]:
    return {
        "latency_s": latency.median_s,
        "latency_low_s": latency.low_s,
        "latency_high_s": latency.high_s,
        "latency_ratio": latency.ratio,
        "ratio_low": latency.ratio_low,
        "ratio_high": latency.ratio_high,
        "latency_source": latency.source,
        "known_error": latency.known_error,
        "latency_environment": json.dumps(dict(latency.environment), sort_keys=True),
        "candidate_samples_s": [visit.candidate_s for visit in latency.visits],
        "anchor_samples_s": [visit.anchor_s for visit in latency.visits],
    }
