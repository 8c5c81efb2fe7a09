"""What users write for budgets: a latency (`2ms`, `40%`), a time (`1h30m`), an accuracy drop (`0.5%`)."""

import re
from dataclasses import dataclass

from latency_models.latency import Latency
from nas.errors import UserError

_NUMBER = r"\d+(?:\.\d+)?|\.\d+"
_MEASURE = re.compile(rf"({_NUMBER})\s*([^\d\s.].*)?", re.ASCII)
_TIME = re.compile(rf"(?:({_NUMBER})\s*h)?\s*(?:({_NUMBER})\s*m)?\s*(?:({_NUMBER})\s*s)?", re.ASCII)
# Both code points of the sign for micro: U+00B5 (keyboards) and U+03BC (the Greek letter).
_SECONDS_PER = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6}
_LONGEST_S = 365 * 24 * 3600.0
_SMALLEST = 1e-9  # of any unit; below it a number counts as zero

_LATENCY_REMEDY = "Write a time (`2ms`, `800us`, `0.01s`) or a share of the teacher's latency (`40%`)."
_TIME_REMEDY = "Write hours, minutes and seconds, for example `5m`, `90s` or `1h30m`."
_TIME_OR_CPU_REMEDY = f"{_TIME_REMEDY} With `cpu:` in front, as `cpu:5m`, it is CPU time."
_SHARE_REMEDY = "Write percentage points of accuracy, for example `0.5%` or `1pt`."


@dataclass(frozen=True)
class LatencyBudget:
    """The latency that a student may have at most: a time, or a share of the teacher's. Exactly one is given.

    Attributes:
        seconds: per inference, or None.
        ratio: to the teacher's latency, in (0, 1], or None.
    """

    seconds: float | None = None
    ratio: float | None = None

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.ratio is None):
            raise ValueError("a latency budget is either seconds or a ratio")
        if self.seconds is not None and not 0 < self.seconds <= _LONGEST_S:
            raise ValueError(f"a latency budget is positive and finite, got {self.seconds} s")
        if self.ratio is not None and not 0 < self.ratio <= 1:
            raise ValueError(f"a share of the teacher's latency lies in (0, 1], got {self.ratio}")

    def __str__(self) -> str:
        if self.ratio is not None:
            return f"{self.ratio * 100:.6g}%"
        assert self.seconds is not None
        return f"{self.seconds * 1000:.6g} ms"

    def as_ratio(self, teacher_s: float) -> float:
        """The budget as a share of the teacher's latency; above 1 where the teacher meets it already.

        Args:
            teacher_s: the teacher's latency in seconds, positive.
        """
        if not teacher_s > 0:
            raise ValueError(f"the teacher's latency is positive, got {teacher_s} s")
        if self.ratio is not None:
            return self.ratio
        assert self.seconds is not None
        return self.seconds / teacher_s

    def met_by(self, latency: Latency) -> bool:
        """Whether the upper end of the latency's interval meets the budget."""
        if self.seconds is not None:
            return latency.high_s <= self.seconds
        return self.ratio is not None and latency.ratio_high <= self.ratio


def parse_latency_budget(text: str) -> LatencyBudget:
    """The budget that `2ms`, `800us`, `0.01s` or `40%` says.

    Raises:
        UserError: anything else, a bare number included.
    """
    value, unit = _number_and_unit(text, "latency budget", _LATENCY_REMEDY)
    if not unit:
        raise UserError(
            f"The latency budget `{text}` has no unit: it could be seconds, milliseconds or a share of the teacher.",
            _LATENCY_REMEDY,
        )
    if unit == "%":
        if value > 100:
            raise UserError(f"The latency budget `{text}` is more than the teacher's own latency.", _LATENCY_REMEDY)
        return LatencyBudget(ratio=value / 100)
    if unit not in _SECONDS_PER:
        raise UserError(f"The latency budget `{text}` has the unknown unit `{unit}`.", _LATENCY_REMEDY)
    if value * _SECONDS_PER[unit] > _LONGEST_S:
        raise UserError(f"The latency budget `{text}` is longer than a year.", _LATENCY_REMEDY)
    return LatencyBudget(seconds=value * _SECONDS_PER[unit])


@dataclass(frozen=True)
class TimeBudget:
    """How long a search may take.

    Attributes:
        seconds: positive.
        of_cpu: whether they are CPU seconds of the search and all its processes, instead of wall-clock seconds.
    """

    seconds: float
    of_cpu: bool = False


def parse_time_budget(text: str) -> TimeBudget:
    """The budget that `5m`, `1h30m` or `cpu:180s` says.

    Raises:
        UserError: as `parse_time`.
    """
    prefix, colon, rest = text.strip().partition(":")
    if colon and prefix == "cpu":
        return TimeBudget(_seconds(rest, _TIME_OR_CPU_REMEDY), of_cpu=True)
    return TimeBudget(_seconds(text, _TIME_OR_CPU_REMEDY))


def parse_time(text: str) -> float:
    """The seconds that `5m`, `90s` or `1h30m` says.

    Raises:
        UserError: anything else: no unit, zero, negative, longer than a year, units out of order.
    """
    return _seconds(text, _TIME_REMEDY)


def _seconds(text: str, remedy: str) -> float:
    match = _TIME.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise UserError(f"The time budget `{text}` is not a time.", remedy)
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    total_s = hours * 3600 + minutes * 60 + seconds
    if total_s < _SMALLEST:
        raise UserError(f"The time budget `{text}` is zero.", remedy)
    if total_s > _LONGEST_S:
        raise UserError(f"The time budget `{text}` is longer than a year.", remedy)
    return total_s


def parse_share(text: str) -> float:
    """The accuracy drop that `0.5%` or `0.5pt` (percentage points, the same) says, as a fraction: 0.005.

    Raises:
        UserError: anything else: no unit, zero, negative, more than 100 %.
    """
    value, unit = _number_and_unit(text, "accuracy drop", _SHARE_REMEDY)
    if unit not in ("%", "pt"):
        why = f"has the unknown unit `{unit}`" if unit else "has no unit: it could be a fraction or percentage points"
        raise UserError(f"The accuracy drop `{text}` {why}.", _SHARE_REMEDY)
    if value > 100:
        raise UserError(f"The accuracy drop `{text}` is more than 100 percentage points.", _SHARE_REMEDY)
    return value / 100


def _number_and_unit(text: str, what: str, remedy: str) -> tuple[float, str]:
    """A positive number and the (possibly empty) unit behind it."""
    stripped = text.strip()
    if re.match(rf"-\s*(?:{_NUMBER})", stripped):
        raise UserError(f"The {what} `{text}` is negative.", remedy)
    match = _MEASURE.fullmatch(stripped)
    if match is None:
        raise UserError(f"The {what} `{text}` is not a number with a unit.", remedy)
    value = float(match[1])
    if value < _SMALLEST:
        raise UserError(f"The {what} `{text}` is zero.", remedy)
    return value, match[2] or ""
