import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nas.errors import UserError
from nas.ledger import Ledger, open_ledger
from nas.record import Record
from search_spaces.recipe import Recipe


def long_record(n: int) -> Record:
    return Record(Recipe.of({"a": n}), note="x" * 3000)


def put_many(ledger: Ledger) -> None:
    for n in range(1000):
        ledger.put(long_record(n))


def fill(ledger: Ledger) -> int:
    """Put records until the disk is full; how many were taken."""
    with pytest.raises(UserError, match="disk is full") as caught:
        put_many(ledger)
    assert caught.value.exit_status == 5
    return len(ledger.records())


def test_a_full_disk_stops_it_cleanly_and_it_goes_on_with_space(tmp_path: Path) -> None:
    with open_ledger(tmp_path, create=True) as ledger:
        ledger._connection.execute("PRAGMA max_page_count = 20")
        n = fill(ledger)
        assert n > 3
        assert ledger.records() == [long_record(i) for i in range(n)]
        ledger._connection.execute("PRAGMA max_page_count = 1000")
        ledger.put(long_record(n))
        assert len(ledger.records()) == n + 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root mounts a small disk")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with open_ledger(tmp_path, create=True) as ledger:
            n = fill(ledger)
            assert n > 3
        with open_ledger(tmp_path, create=False) as ledger:
            assert ledger.records() == [long_record(i) for i in range(n)]
            assert ledger._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_damaged_ledger_is_a_user_error(tmp_path: Path) -> None:
    with open_ledger(tmp_path, create=True) as ledger:
        for n in range(20):
            ledger.put(long_record(n))
    path = tmp_path / "ledger.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(UserError, match="is damaged"), open_ledger(tmp_path, create=False) as ledger:
        ledger.records()


WRITER = """
import sys
from pathlib import Path
from nas.ledger import open_ledger
from nas.record import Record
from search_spaces.recipe import Recipe
with open_ledger(Path(sys.argv[1]), create=True) as ledger:
    first = len(ledger.records())
    for n in range(first, 10**9):
        ledger.put(Record(Recipe.of({"a": n}), accuracy=n / 7, note="x" * 20_000))
        ledger.add_elapsed(1.0)
        print(n, flush=True)
"""


def test_killed_at_any_moment_every_acknowledged_record_is_there(tmp_path: Path) -> None:
    for n_lines in (1, 4, 7):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(n_lines)]
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate()
        acknowledged = [int(line) for line in lines + rest.splitlines(keepends=True) if line.endswith("\n")]
        assert len(acknowledged) >= n_lines
        with open_ledger(tmp_path, create=False) as ledger:
            assert ledger._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            kept = ledger.records()
            assert [record.recipe["a"] for record in kept] == list(range(len(kept)))
            assert [record.accuracy for record in kept] == [n / 7 for n in range(len(kept))]
            assert len(kept) > acknowledged[-1]
            assert ledger.elapsed_s() > acknowledged[-1]
