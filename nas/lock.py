"""One search a run: who owns a run's folder, held by the operating system for as long as the owner lives."""

import errno
import fcntl
import getpass
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from nas.deadline import wall_clock
from nas.errors import UserError
from nas.files import FullDiskStops

EXIT_RUN_OWNED = 4
OWNER_FILE = "owner.json"

_held: set[int] = set()


def _let_go() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


# A lock belongs to the open file, which forked workers share: a data loader's worker that outlives a killed search
# would go on owning the run. Closing the child's copy leaves the parent's lock in place.
os.register_at_fork(after_in_child=_let_go)


@dataclass(frozen=True)
class Owner:
    """The process that searches in a run.

    Attributes:
        pid, host, user: which process, where, whose.
        started: date and time, ISO 8601 with the zone.
        command: its command line.
    """

    pid: int
    host: str
    user: str
    started: str
    command: str


@contextmanager
def own(run: Path) -> Iterator[Owner]:
    """Own the run's folder until the block ends or the process dies, however it dies.

    The lock is an flock on `owner.json`; the file itself stays behind and says who owned the run last. It is written
    in place and never renamed or removed: the lock is on that very file.

    Raises:
        UserError: another process owns it, the folder is missing, or the disk is full.
    """
    path = run / OWNER_FILE
    with FullDiskStops(path):
        descriptor = _open(path)
    _held.add(descriptor)
    try:
        _lock(descriptor, path)
        me = _this_process()
        with FullDiskStops(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, (json.dumps(asdict(me), indent=2) + "\n").encode(), 0)
        yield me
    finally:
        if descriptor in _held:
            _held.discard(descriptor)
            os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"There is no folder {path.parent}.", "Name the folder of a run, for example in results/."
        ) from None
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise UserError(
            f"{path} may not be written ({error.strerror}).", "Check its permissions, or copy the run and go on there."
        ) from error


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{path.parent} is owned by another search: {_owner_in_words(descriptor)}.",
            "Wait until it ends or stop it, or give this search another folder with --out.",
            exit_status=EXIT_RUN_OWNED,
        ) from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be locked ({error.strerror}).",
            "Put the run on a local disk; some network disks lack locks.",
        ) from error


def _owner_in_words(descriptor: int) -> str:
    try:
        owner = Owner(**json.loads(os.pread(descriptor, 65536, 0)))
    except (ValueError, TypeError):
        # The other process has the lock and is just about to write its name.
        return "one that has only just started"
    return f"process {owner.pid} on {owner.host} of user {owner.user}, since {owner.started} (`{owner.command}`)"


def _this_process() -> Owner:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # No entry in the password file, as in containers that run under an arbitrary number.
        user = str(os.getuid())
    started = wall_clock().isoformat(timespec="seconds")
    return Owner(os.getpid(), socket.gethostname(), user, started, " ".join(sys.orig_argv))
