"""Leaving a device alone that has stopped answering, for longer each time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from latency_models.errors import DeviceError


@dataclass(frozen=True)
class CoolDown:
    """How long a device is left alone.

    Attributes:
        first_s: after the first failure.
        factor: by which each further failure in a row lengthens it.
        longest_s: which it never exceeds.
    """

    first_s: float = 5.0
    factor: float = 2.0
    longest_s: float = 300.0

    def after(self, n_failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        return float(min(self.first_s * self.factor ** min(n_failures - 1, 60), self.longest_s))


@final
class Quarantine:
    """Says whether a device may be asked now.

    Args:
        label: of the target, for messages.
        clock: seconds from an arbitrary origin.
        cool_down: how long it is left alone.
    """

    def __init__(self, label: str, clock: Callable[[], float], cool_down: CoolDown | None = None) -> None:
        self._label = label
        self._clock = clock
        self._cool_down = cool_down or CoolDown()
        self._n_failures = 0
        self._until_s = 0.0
        self._reason = ""

    def admit(self) -> None:
        """Returns where the device may be asked: it works, or its cool-down is over and this is the one probe.

        Raises:
            DeviceError: the cool-down is not over.
        """
        if self._n_failures and self._clock() < self._until_s:
            raise DeviceError(
                f"{self._label} is left alone for a while: {self._reason}",
                "Check the device and its RPC server; it is tried again after that.",
            )

    def failed(self, reason: str) -> None:
        """Begins a cool-down, twice as long as the one before where the device has not worked since."""
        self._n_failures += 1
        self._until_s = self._clock() + self._cool_down.after(self._n_failures)
        self._reason = reason

    def worked(self) -> None:
        """Ends it: the device answered."""
        self._n_failures = 0
