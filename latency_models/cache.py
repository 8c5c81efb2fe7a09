"""Visits already made: (artifact, anchor, target, plan, versions) to visits, in one SQLite file."""

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from latency_models.errors import LatencyError
from latency_models.latency import Visit
from latency_models.serialize import visit_from_json, visit_to_json
from latency_models.timing import Plan

SCHEMA = "CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY, key TEXT NOT NULL, visit TEXT NOT NULL)"
INDEX = "CREATE INDEX IF NOT EXISTS visits_key ON visits (key)"
WAIT_S = 30.0


@dataclass(frozen=True)
class Key:
    """What a visit holds for; visits under unequal keys are never mixed.

    Attributes:
        artifact_digest: of the candidate.
        anchor_digest: of what it was timed against.
        target_label: where.
        plan: how.
        environment: processor, versions, threads (a backend's `environment`).
    """

    artifact_digest: str
    anchor_digest: str
    target_label: str
    plan: Plan
    environment: Mapping[str, str]

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no white space."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


def user_folder() -> Path:
    """`understudy` in the user's cache folder ($XDG_CACHE_HOME, or ~/.cache); it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy"


def add_visits(path: Path, key: Key, visits: Iterable[Visit]) -> None:
    """Adds to the visits under a key, all of them or, if the process is killed meanwhile, none.

    The file is created where it does not exist. Several processes may add at once: SQLite lets them in one by one.

    Raises:
        LatencyError: the file is not a cache or cannot be written.
    """
    rows = [(key.to_json(), json.dumps(visit_to_json(visit))) for visit in visits]
    try:
        with closing(sqlite3.connect(path, timeout=WAIT_S)) as connection, connection:
            connection.execute(SCHEMA)
            connection.execute(INDEX)
            connection.executemany("INSERT INTO visits (key, visit) VALUES (?, ?)", rows)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error


def load_visits(path: Path, key: Key) -> tuple[Visit, ...]:
    """The visits under a key, oldest first; none where the file does not exist.

    Raises:
        LatencyError: the file is not a cache.
    """
    if not path.exists():
        return ()
    query = "SELECT visit FROM visits WHERE key = ? ORDER BY id"
    try:
        with closing(sqlite3.connect(path, timeout=WAIT_S)) as connection, connection:
            connection.execute(SCHEMA)
            rows = connection.execute(query, (key.to_json(),)).fetchall()
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    return tuple(visit_from_json(json.loads(text)) for (text,) in rows)


def _unusable(path: Path, error: sqlite3.Error) -> LatencyError:
    return LatencyError(
        f"The latency cache {path} cannot be used: {error}.",
        "Free disk space or, where the file is damaged, delete it: its latencies are then measured again.",
    )
