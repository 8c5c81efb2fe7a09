import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from nas.errors import UserError
from nas.files import EXIT_DISK_FULL, FullDiskStops, write_atomic, write_json


def refuse_to_sync(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_writes_and_replaces_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "a.bin"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.bin"]


def test_who_is_reading_the_old_file_reads_it_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_atomic(path, b"old")
    with path.open("rb") as reader:
        write_atomic(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_a_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    write_atomic(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 0.5, None, "ü"]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"b": [1, 0.5, None, "ü"]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"b": [1, 0.5, None, "ü"]}


def test_a_full_disk_leaves_the_old_content_and_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, "fsync", refuse_to_sync)
    with pytest.raises(UserError, match="disk is full") as caught:
        write_atomic(path, b"new")
    assert caught.value.exit_status == EXIT_DISK_FULL == 5
    assert caught.value.remedy == "Free some space and try again."
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_inside_a_run_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.yaml").write_text("")
    (tmp_path / "artifacts").mkdir()
    monkeypatch.setattr(os, "fsync", refuse_to_sync)
    with pytest.raises(UserError) as caught:
        write_atomic(tmp_path / "artifacts" / "a.onnx", b"new")
    assert caught.value.remedy == f"Free some space and go on with `nas resume {tmp_path}`."


@pytest.mark.skipif(os.getuid() != 0, reason="only root mounts a small disk")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        write_atomic(tmp_path / "small", b"x" * 1000)
        with pytest.raises(UserError, match="disk is full"):
            write_atomic(tmp_path / "large", b"x" * 100_000)
        assert [entry.name for entry in tmp_path.iterdir()] == ["small"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_other_failures_pass_unchanged(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path / "folder", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_is_recognised_behind_other_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="disk is full"), FullDiskStops(tmp_path):
        raise RuntimeError("cannot save") from OSError(errno.EDQUOT, "quota")
    with pytest.raises(UserError, match="disk is full"), FullDiskStops(tmp_path):
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    with pytest.raises(RuntimeError, match="mine"), FullDiskStops(tmp_path):
        raise RuntimeError("mine")


def test_a_full_sqlite_file_counts_as_a_full_disk(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "a.sqlite")
    connection.execute("CREATE TABLE a (b)")
    connection.execute("PRAGMA max_page_count = 2")
    with pytest.raises(UserError, match="disk is full"), FullDiskStops(tmp_path):
        connection.execute("INSERT INTO a VALUES (zeroblob(100000))")
    connection.close()


WRITER = """
import sys
from pathlib import Path
from nas.files import write_atomic
for n in range(10**9):
    write_atomic(Path(sys.argv[1]), bytes([n % 256]) * 300_000)
    print(n, flush=True)
"""


def test_killed_at_any_moment_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for _ in range(20):
        writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    content = path.read_bytes()
    assert content == content[:1] * 300_000
