import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nas.errors import UserError
from nas.lock import EXIT_RUN_OWNED, own

HOLDER = """
import os, sys, time
from pathlib import Path
from nas.lock import own
with own(Path(sys.argv[1])):
    orphan = os.fork() if sys.argv[2] == "fork" else -1
    if orphan == 0:
        os.close(1)
        time.sleep(30)
        os._exit(0)
    print(orphan, flush=True)
    sys.stdin.read()
"""


def hold(run: Path, how: str = "plain") -> tuple[subprocess.Popen[str], int]:
    """Another process that owns the run until its input ends, and the worker it forked."""
    command = [sys.executable, "-c", HOLDER, str(run), how]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    return holder, int(holder.stdout.readline())


def test_a_second_search_is_refused_with_the_owners_name(tmp_path: Path) -> None:
    holder, _ = hold(tmp_path)
    owner = json.loads((tmp_path / "owner.json").read_text())
    assert owner["pid"] == holder.pid
    with pytest.raises(UserError) as caught, own(tmp_path):
        pass
    for value in (str(holder.pid), owner["host"], owner["user"], owner["started"]):
        assert value in caught.value.problem
    assert caught.value.exit_status == EXIT_RUN_OWNED == 4
    # Being refused takes nothing from the owner.
    assert json.loads((tmp_path / "owner.json").read_text()) == owner
    holder.communicate("")
    with own(tmp_path) as me:
        assert me.pid == os.getpid()


def test_a_killed_owner_does_not_block(tmp_path: Path) -> None:
    holder, _ = hold(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert json.loads((tmp_path / "owner.json").read_text())["pid"] == holder.pid
    with own(tmp_path):
        assert json.loads((tmp_path / "owner.json").read_text())["pid"] == os.getpid()


def test_a_worker_that_outlives_a_killed_owner_does_not_block(tmp_path: Path) -> None:
    holder, worker = hold(tmp_path, "fork")
    with pytest.raises(UserError, match="owned by another search"), own(tmp_path):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    os.kill(worker, 0)
    try:
        with own(tmp_path) as me:
            assert me.pid == os.getpid()
    finally:
        os.kill(worker, signal.SIGKILL)


def test_the_same_process_is_refused_twice_and_may_come_again(tmp_path: Path) -> None:
    with own(tmp_path):
        with pytest.raises(UserError, match=str(os.getpid())), own(tmp_path):
            pass
        with pytest.raises(UserError, match="owned by another search"), own(tmp_path):
            pass
    with own(tmp_path):
        pass


def test_a_shorter_owner_overwrites_a_longer_one_and_garbage(tmp_path: Path) -> None:
    (tmp_path / "owner.json").write_text("garbage" * 1000)
    with own(tmp_path):
        assert json.loads((tmp_path / "owner.json").read_text())["command"] == " ".join(sys.orig_argv)


def test_a_missing_folder_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"), own(tmp_path / "missing"):
        pass
