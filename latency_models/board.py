"""The connection to a device that runs TVM's RPC server: reached within a time, held for a while, given back."""

import socket
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final
from weakref import WeakKeyDictionary

import numpy as np
import tvm
from tvm import rpc
from tvm.rpc import base

from latency_models import device_facts
from latency_models.device_facts import Facts
from latency_models.errors import DeviceError, LatencyError
from latency_models.supervise import answers
from latency_models.target import Target

FACTS_LIBRARY = "understudy_facts.so"
MAX_TEXT = 1 << 16
RETRY_S = 0.25
BIG_CORES = 1
"""TVM's word for a thread pool on the fastest cores, where there are two kinds (tvm/runtime/threading_backend.h)."""

RPC_ERRORS = (RuntimeError, OSError, EOFError)
"""What TVM's client raises when the connection is lost or the device's side fails: RPCError is a RuntimeError, and C++
errors arrive as plain ones."""


@dataclass(frozen=True)
class Lease:
    """One session on the device, which nobody else can use meanwhile.

    Attributes:
        session: TVM's.
        begun_s: on the monotonic clock.
        facts: what the device says of itself.
        device: TVM's, that networks compute on.
        loaded: network to what of it lies on the device; ends with either.
    """

    session: Any
    begun_s: float
    facts: Facts
    device: Any
    loaded: "WeakKeyDictionary[object, Any]" = field(default_factory=WeakKeyDictionary)


@final
class Board:
    """The device of a target.

    A lease lasts at most two steps' time (`Remote.run_s`), after which the server itself ends it, so that a client
    that hangs does not keep the device. It is renewed between two steps, when less than one step's time is left, and
    given back by `release`.

    Args:
        target: whose access is `rpc`.
    """

    def __init__(self, target: Target) -> None:
        if target.remote is None or target.processor is None:
            raise LatencyError(
                f"The target {target.name} does not say where its device is, or what processor it has.",
                "Give host, port and triple in its profile, see docs/targets.md.",
            )
        self._target = target
        self._remote = target.remote
        self._triple = target.processor.triple or str(tvm.target.codegen.llvm_get_system_triple())
        self._lease: Lease | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="understudy-board-")

    @property
    def folder(self) -> Path:
        """For what is compiled for the device; ends with this object."""
        return Path(self._folder.name)

    @property
    def where(self) -> str:
        """The device in words."""
        remote = self._remote
        return (
            f"{remote.key} at the tracker {remote.host}:{remote.port}" if remote.key else f"{remote.host}:{remote.port}"
        )

    def lease(self) -> Lease:
        """The lease that there is, or a new one.

        Raises:
            DeviceError: the device does not answer within `Remote.connect_s`.
            LatencyError: it is emulated and the profile does not accept that, or the other way round.
        """
        if self._lease is not None and time.monotonic() - self._lease.begun_s > self._remote.run_s:
            self.release()
        if self._lease is None:
            session = self._connected(time.monotonic() + self._remote.connect_s)
            with self.guarded():
                facts = self._facts(session)
                session.get_function("runtime.config_threadpool")(BIG_CORES, self._target.n_threads)
            _check_emulation(self._target, facts)
            self._lease = Lease(session, time.monotonic(), facts, session.device(self._target.device))
        return self._lease

    def release(self) -> None:
        """Gives the device back."""
        lease, self._lease = self._lease, None
        if lease is not None:
            with suppress(*RPC_ERRORS):  # the connection may be what failed
                lease.session.get_function("CloseRPCConnection")()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Within it, what TVM's client raises is a DeviceError, and the lease is over."""
        try:
            yield
        except RPC_ERRORS as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> DeviceError:
        self.release()
        words = " ".join(str(error).split())[-300:]
        return DeviceError(
            f"The device {self.where} failed: {words}.",
            "Check that it is switched on and that `python -m latency_models.supervise` runs there.",
        )

    def _connected(self, end_s: float) -> Any:
        timeout_s = 2 * self._remote.run_s
        if self._remote.key:
            host, port, key = self._requested(end_s)
        else:
            self._await_server(end_s)
            host, port, key = self._remote.host, self._remote.port, ""
        with self.guarded():
            return rpc.connect(host, port, key, session_timeout=timeout_s)

    def _await_server(self, end_s: float) -> None:
        """Returns when the server greets: TVM's own connect has no time limit."""
        while not answers(self._remote.host, self._remote.port, max(0.1, end_s - time.monotonic())):
            if time.monotonic() + RETRY_S >= end_s:
                raise DeviceError(
                    f"No TVM RPC server answers at {self.where} within {self._remote.connect_s:g} s.",
                    "Start `python -m latency_models.supervise` on the device and the SSH tunnel to it, or wait until "
                    "nobody else uses it.",
                )
            time.sleep(RETRY_S)

    def _requested(self, end_s: float) -> tuple[str, int, str]:
        """Host, port and key of a device that the tracker gives us; its client has no time limit, hence not used."""
        remote = self._remote
        try:
            with socket.create_connection((remote.host, remote.port), remote.connect_s) as tracker:
                tracker.sendall(struct.pack("<i", base.RPC_TRACKER_MAGIC))
                tracker.settimeout(max(0.1, end_s - time.monotonic()))
                if struct.unpack("<i", base.recvall(tracker, 4))[0] != base.RPC_TRACKER_MAGIC:
                    raise DeviceError(f"{remote.host}:{remote.port} is no TVM tracker.", "Check host and port.")
                base.sendjson(tracker, [base.TrackerCode.REQUEST, remote.key, "", remote.priority])
                code, (host, port, key) = base.recvjson(tracker)
        except (OSError, ValueError, struct.error) as error:
            raise DeviceError(
                f"The tracker {remote.host}:{remote.port} gave no device called {remote.key} within "
                f"{remote.connect_s:g} s: {error}.",
                "Check that the tracker runs, that the device's supervisor reports to it, and who else uses it.",
            ) from error
        if code != base.TrackerCode.SUCCESS:
            raise DeviceError(f"The tracker refused the request for {remote.key}.", "Check the key.")
        return host, int(port), key

    def _facts(self, session: Any) -> Facts:
        library = self.folder / FACTS_LIBRARY
        if not library.exists():
            device_facts.build(self._remote.compiler, library)
        session.upload(str(library))
        try:
            module, device = session.load_module(FACTS_LIBRARY), session.cpu(0)
            text = tvm.runtime.tensor(np.zeros(MAX_TEXT, np.uint8), device)

            def read(path: str, link: bool) -> str | None:
                name = tvm.runtime.tensor(np.frombuffer(path.encode() + b"\0", np.uint8), device)
                size = int(module["read_link" if link else "read_file"](name, text))
                return text.numpy()[:size].tobytes().decode(errors="replace") if size >= 0 else None

            return device_facts.gather(read, self._triple)
        finally:
            session.remove(FACTS_LIBRARY)


def _check_emulation(target: Target, facts: Facts) -> None:
    """An emulated device's times are no latencies: refused, or where the profile says so, marked in every label."""
    assert target.remote is not None
    emulated, accepted = facts.emulated, target.remote.emulated
    if emulated is None and not accepted:
        raise LatencyError(
            f"The device of {target.name} does not show whether it is emulated: its /proc cannot be read.",
            "Set `emulated: true` in its profile to have its times marked as no latencies.",
        )
    if emulated is True and not accepted:
        raise LatencyError(
            f"The device of {target.name} is emulated, so that its times are no latencies.",
            "Use a real device, or set `emulated: true` in its profile to have them marked so in every table.",
        )
    if emulated is False and accepted:
        raise LatencyError(
            f"The profile of {target.name} says `emulated: true`, but its device is real.", "Remove that line."
        )
