"""Messages between a process and its worker: pickled, each behind a mark and its length."""

import os
import pickle
import select
import struct
import time

MARK = b"nas\x01"
HEADER = struct.Struct("<4sQ")
CHUNK = 1 << 20


class GarbledError(Exception):
    """What arrived is no message: the peer wrote something else, or died within one."""


def write_frame(fd: int, message: object, limit_s: float | None = None) -> None:
    """Sends one message.

    Args:
        fd: a pipe's; where there is a limit it is made non-blocking.
        message: picklable.
        limit_s: seconds after which the peer is held to read no more.

    Raises:
        TimeoutError: the limit is over.
        BrokenPipeError: the peer is gone.
    """
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    rest = memoryview(HEADER.pack(MARK, len(content)) + content)
    if limit_s is None:
        while rest:
            rest = rest[os.write(fd, rest) :]
        return
    os.set_blocking(fd, False)
    end_s = time.monotonic() + limit_s
    while rest:
        _, writable, _ = select.select([], [fd], [], max(0.0, end_s - time.monotonic()))
        if not writable:
            raise TimeoutError("the peer does not read")
        rest = rest[os.write(fd, rest[:CHUNK]) :]


def read_frame(fd: int, limit_s: float | None = None) -> object:
    """Receives one message.

    The peer is trusted: unpickling runs what it sent.

    Args:
        fd: a pipe's.
        limit_s: seconds to wait for the whole message.

    Raises:
        TimeoutError: the limit is over.
        EOFError: the peer is gone, and nothing of a message has come.
        GarbledError: what came is no message.
    """
    end_s = None if limit_s is None else time.monotonic() + limit_s
    header = _read(fd, HEADER.size, end_s)
    if not header:
        raise EOFError("the peer is gone")
    if len(header) < HEADER.size or not header.startswith(MARK):
        raise GarbledError(f"a message begins with {header!r}")
    _, size = HEADER.unpack(header)
    content = _read(fd, size, end_s)
    if len(content) < size:
        raise GarbledError(f"a message of {size} bytes ends after {len(content)}")
    try:
        return pickle.loads(content)
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError) as error:
        raise GarbledError(f"a message cannot be read: {error}") from error


def _read(fd: int, size: int, end_s: float | None) -> bytes:
    """`size` bytes, or fewer where the peer is gone."""
    content = bytearray()
    while len(content) < size:
        if end_s is not None:
            readable, _, _ = select.select([fd], [], [], max(0.0, end_s - time.monotonic()))
            if not readable:
                raise TimeoutError("the peer does not answer")
        chunk = os.read(fd, min(CHUNK, size - len(content)))
        if not chunk:
            break
        content += chunk
    return bytes(content)
