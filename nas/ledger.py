"""The ledger: everything a run knows, in one SQLite file with one writer, safe against kill -9 and a full disk.

`ledger.sqlite` uses the rollback journal (DELETE) and synchronous=EXTRA. Both this and WAL outlive kill -9 and a full
disk, but a rollback file is whole by itself between transactions, so a run can be copied or moved, read from a
read-only folder and kept on a network disk, none of which holds for WAL and its `-wal` and `-shm` files; WAL's gain,
many writes a second beside readers, is nothing to a ledger that takes a record every second or so. EXTRA also syncs the
folder once the journal is gone, without which a power cut could take back the last record; it costs milliseconds.

Optuna's study lies beside it in `study.journal`, written from the ledger when a run is finished (`nas.study_file`):
Optuna's own SQLite storage takes 0.1 CPU seconds to tell a trial, and a second before the first one.
"""

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Self, final

from nas.errors import UserError
from nas.files import FullDiskStops
from nas.record import Record
from nas.record_rows import COLUMNS, Row, record_of_row, row_of_record
from search_spaces.recipe import Recipe

LEDGER_FILE = "ledger.sqlite"
SCHEMA_VERSION = 2

_APPLICATION_ID = 0x556E6473  # "Unds" in the header tells a ledger from other SQLite files.
_BUSY_TIMEOUT_S = 30.0
_SCHEMA = (
    f"CREATE TABLE records (sequence INTEGER PRIMARY KEY, {', '.join(COLUMNS.values())}, UNIQUE (digest, rung))",
    "CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE time_used (only INTEGER PRIMARY KEY CHECK (only = 1), elapsed_s REAL NOT NULL)",
    "INSERT INTO time_used VALUES (1, 0.0)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
# An update keeps the row's sequence: a record that is put again stays where it was.
_PUT = (
    f"INSERT INTO records ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    f"ON CONFLICT (digest, rung) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in COLUMNS)}"
)
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM records"
_ADVICE = {
    sqlite3.SQLITE_NOTADB: ("is not a ledger of Understudy", "Name another run, or move that file away."),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "Restore it from a copy, or start a fresh run."),
    sqlite3.SQLITE_BUSY: ("is locked by another program", "Close that program, then go on with `nas resume`."),
    sqlite3.SQLITE_READONLY: ("may not be written", "Check the permissions, then go on with `nas resume`."),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "Check the permissions of the run's folder."),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", "Check the disk, then go on with `nas resume`."),
    sqlite3.SQLITE_PERM: ("may not be opened", "Check the permissions of the run's folder."),
}


@final
class Ledger:
    """An open ledger; made by `open_ledger`. Every method that writes is one transaction, on the disk when it returns.

    All methods raise UserError where the disk is full (exit status 5) or the file is damaged, locked for more than half
    a minute by another program, or not to be written.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        # Records as they stand in the file at `_seen`; they hold raw samples, and every candidate asks for some.
        self._records: dict[tuple[str, int], Record] = {}
        self._seen: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing waits to be written."""
        self._connection.close()

    def put(self, record: Record) -> None:
        """Insert the record, or replace the one of the same recipe and rung.

        Raises:
            ValueError: a score, a latency or a time is NaN or infinite, or the record would not read back equal.
        """
        row = row_of_record(record)
        if record_of_row(row) != record:
            raise ValueError(f"record {record.id} would not read back from the ledger as it is")
        self._write(_PUT, row)
        if self._seen is not None:
            self._records[record.recipe.digest, record.rung] = record

    def get(self, recipe: Recipe, rung: int) -> Record | None:
        """The record of this recipe at this rung, or None."""
        return self._all().get((recipe.digest, rung))

    def has(self, recipe: Recipe, rung: int) -> bool:
        """Whether there is a record of this recipe at this rung, failed ones included."""
        return (recipe.digest, rung) in self._all()

    def records(self) -> list[Record]:
        """All records in the order of their first insertion."""
        return list(self._all().values())

    def set_fact(self, key: str, value: Any) -> None:
        """Keep a JSON value under a key, in place of the one there.

        Raises:
            ValueError: the value holds NaN or inf.
            TypeError: the value is not of JSON's types.
        """
        text = json.dumps(value, allow_nan=False)
        self._write(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, text)
        )

    def get_fact(self, key: str) -> Any:
        """The value kept under a key (tuples come back as lists), or None."""
        rows = self._read("SELECT value FROM facts WHERE key = ?", (key,))
        return json.loads(rows[0][0]) if rows else None

    def add_elapsed(self, seconds: float) -> None:
        """Add to the seconds of the time budget that are used.

        Raises:
            ValueError: seconds are negative, NaN or infinite.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"elapsed seconds are finite and not negative, got {seconds}")
        self._write("UPDATE time_used SET elapsed_s = elapsed_s + ?", (seconds,))

    def elapsed_s(self) -> float:
        """Seconds of the time budget used, over all sessions of the run."""
        return float(self._read("SELECT elapsed_s FROM time_used", ())[0][0])

    def _all(self) -> dict[tuple[str, int], Record]:
        """The records by digest and rung, in order; read anew where another connection has written."""
        version = int(self._read("PRAGMA data_version", ())[0][0])
        if version != self._seen:
            records = [record_of_row(row) for row in self._read(f"{_SELECT} ORDER BY sequence", ())]
            self._records = {(record.recipe.digest, record.rung): record for record in records}
            self._seen = version
        return self._records

    def _write(self, statement: str, values: Row) -> None:
        with _told_plainly(self.path), _transaction(self._connection):
            self._connection.execute(statement, values)

    def _read(self, query: str, values: Row) -> list[Row]:
        with _told_plainly(self.path):
            return self._connection.execute(query, values).fetchall()


def open_ledger(run: Path, create: bool) -> Ledger:
    """Open the ledger of a run: `with open_ledger(run, create=False) as ledger: ...`.

    Args:
        run: the run's folder.
        create: whether to make the file where it is missing. A file that is there is opened either way, and set up
            where a search was killed before it had done so.

    Raises:
        UserError: there is no ledger, or the file is not one, or it is of another schema version.
    """
    path = run / LEDGER_FILE
    if not path.is_file() and not (create and run.is_dir()):
        raise UserError(f"{run} has no ledger ({LEDGER_FILE}).", "Name the folder of a run, for example in results/.")
    with ExitStack() as stack, _told_plainly(path):
        connection = stack.enter_context(closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)))
        connection.execute("PRAGMA synchronous = EXTRA")
        _check_or_create(connection, path)
        stack.pop_all()
    return Ledger(path, connection)


def _check_or_create(connection: sqlite3.Connection, path: Path) -> None:
    application_id, version, n_tables = _header(connection)
    if (application_id, version, n_tables) == (0, 0, 0):
        with _transaction(connection):
            # Looked at again under the lock: another process may have been first.
            if _header(connection) == (0, 0, 0):
                for statement in _SCHEMA:
                    connection.execute(statement)
        application_id, version, _ = _header(connection)
    if application_id != _APPLICATION_ID:
        raise UserError(f"{path} is not a ledger of Understudy.", "Name another run, or move that file away.")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path} was written by another version of Understudy (schema {version}; this one reads {SCHEMA_VERSION}).",
            "Use the version that made the run, or start a fresh one.",
        )


def _header(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Application id, schema version and number of tables."""
    application_id: int = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    n_tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return application_id, version, n_tables


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        # A failed COMMIT may leave the transaction open; a full disk may have ended it already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def _told_plainly(path: Path) -> Iterator[None]:
    """Turn what the disk, the file or another program does to the ledger into errors for the user."""
    try:
        with FullDiskStops(path):
            yield
    except sqlite3.DatabaseError as error:
        # The low byte is the error's family; the bytes above it say more.
        known = _ADVICE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        if known is None:
            raise
        raise UserError(f"{path} {known[0]} ({error}).", known[1]) from error
