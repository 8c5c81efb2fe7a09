"""Records as rows of the ledger and back, exactly."""

import json
import math
import operator
from typing import Any

from latency_models.serialize import latency_from_json, latency_to_json
from nas.record import Record
from search_spaces.recipe import Recipe

Row = tuple[Any, ...]
"""Values that SQLite holds: text, whole numbers, double-precision numbers, None."""

COLUMNS = {
    "digest": "digest TEXT NOT NULL",
    "rung": "rung INTEGER NOT NULL",
    "recipe": "recipe TEXT NOT NULL",
    "failure": "failure TEXT",
    "accuracy": "accuracy REAL",
    "test_accuracy": "test_accuracy REAL",
    "latency": "latency TEXT",
    "elsewhere": "elsewhere TEXT NOT NULL",
    "refusals": "refusals TEXT NOT NULL",
    "n_parameters": "n_parameters INTEGER NOT NULL",
    "n_macs": "n_macs INTEGER NOT NULL",
    "size_bytes": "size_bytes INTEGER NOT NULL",
    "artifact": "artifact TEXT NOT NULL",
    "artifact_digest": "artifact_digest TEXT NOT NULL",
    "seed": "seed INTEGER NOT NULL",
    "train_s": "train_s REAL NOT NULL",
    "note": "note TEXT NOT NULL",
    "environment": "environment TEXT NOT NULL",
}
"""Column name to its definition, in the order of a row."""


def row_of_record(record: Record) -> Row:
    """The values of `COLUMNS`; latency (raw samples included), recipe and environment as JSON text.

    Raises:
        ValueError: a score, a latency or a time is NaN or infinite, or a whole number has more than 63 bits.
    """
    latency = record.latency
    return (
        record.recipe.digest,
        _whole("rung", record.rung),
        record.recipe.to_json(),
        record.failure,
        None if record.accuracy is None else _finite("accuracy", record.accuracy),
        None if record.test_accuracy is None else _finite("test_accuracy", record.test_accuracy),
        # allow_nan=False: the JSON writer refuses NaN and inf wherever they stand, raw samples included.
        None if latency is None else json.dumps(latency_to_json(latency), allow_nan=False),
        json.dumps({label: latency_to_json(one) for label, one in record.elsewhere.items()}, allow_nan=False),
        json.dumps(dict(record.refusals)),
        _whole("n_parameters", record.n_parameters),
        _whole("n_macs", record.n_macs),
        _whole("size_bytes", record.size_bytes),
        record.artifact,
        record.artifact_digest,
        _whole("seed", record.seed),
        _finite("train_s", record.train_s),
        record.note,
        json.dumps(dict(record.environment)),
    )


def record_of_row(row: Row) -> Record:
    """Inverse of `row_of_record`."""
    values = dict(zip(COLUMNS, row, strict=True))
    del values["digest"]
    values["recipe"] = Recipe.from_json(values["recipe"])
    values["latency"] = None if values["latency"] is None else latency_from_json(json.loads(values["latency"]))
    values["elsewhere"] = {k: latency_from_json(v) for k, v in json.loads(values["elsewhere"]).items()}
    values["refusals"] = json.loads(values["refusals"])
    values["environment"] = json.loads(values["environment"])
    return Record(**values)


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{name} of a record is finite, got {value}")
    return float(value)


def _whole(name: str, value: int) -> int:
    if not -(2**63) <= operator.index(value) < 2**63:
        raise ValueError(f"{name} of a record has at most 63 bits, got {value}")
    return operator.index(value)
