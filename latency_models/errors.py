"""The errors of this package."""


class LatencyError(Exception):
    """An artifact cannot be run or timed: what was wrong and what to do next.

    Args:
        problem: what was wrong, one or more sentences.
        remedy: what to do next.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy


class DeviceError(LatencyError):
    """The device, not the artifact, is at fault: out of reach, vanished, or quarantined. Worth trying again later."""
