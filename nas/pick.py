"""Choosing one student of a front: the fastest, the most accurate, or one by its id."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from latency_models.latency import Latency
from nas.errors import UserError
from nas.record import Record
from nas.words import about, drop, estimate, milliseconds, percent

_ROUNDING = 1e-9  # 0.935 - 0.930 is a hair above 0.005


@dataclass(frozen=True)
class Limits:
    """What a chosen student must keep to; None is no limit.

    Attributes:
        max_accuracy_drop: below the teacher's accuracy, a fraction (0.01 is one point).
        latency_budget_s: seconds per inference.
        latency_budget_ratio: the same as a share of the teacher's latency.
    """

    max_accuracy_drop: float | None = None
    latency_budget_s: float | None = None
    latency_budget_ratio: float | None = None

    def overshoot(self, latency: Latency) -> float:
        """How far the upper end of the interval lies above the budget, as a share of it; <= 0 where it is met."""
        over = [0.0]
        if self.latency_budget_s is not None:
            over.append(latency.high_s / self.latency_budget_s - 1)
        if self.latency_budget_ratio is not None:
            over.append(latency.ratio_high / self.latency_budget_ratio - 1)
        return max(over)

    def in_words(self, is_share: bool) -> str:
        """The limits as a message names them."""
        parts = []
        if self.latency_budget_s is not None:
            parts.append(f"a latency of at most {milliseconds(self.latency_budget_s)}")
        if self.latency_budget_ratio is not None:
            parts.append(f"a latency of at most {percent(self.latency_budget_ratio, 1)} of the teacher's")
        if self.max_accuracy_drop is not None:
            parts.append(f"an accuracy drop of at most {drop(self.max_accuracy_drop, is_share)}")
        return " and ".join(parts)


@dataclass(frozen=True)
class Candidate:
    """A student on offer: its record, its latency, and how far it lies below the teacher (a fraction)."""

    record: Record
    latency: Latency
    accuracy_drop: float

    def facts(self, is_share: bool) -> str:
        """Id, latency with its upper end and accuracy drop, for messages."""
        latency = self.latency
        time, share = (about(f, latency.source) for f in (milliseconds(latency.median_s), percent(latency.ratio, 1)))
        said = f", {estimate(latency.known_error)}" if latency.source == "predicted" else ""
        return (
            f"{self.record.id}: {time} (up to {milliseconds(latency.high_s)}{said}), "
            f"{share} of the teacher's latency (up to {percent(latency.ratio_high, 1)}), "
            f"accuracy drop {drop(self.accuracy_drop, is_share)}"
        )


def pick(which: str, candidates: Sequence[Candidate], limits: Limits, is_share: bool) -> Record:
    """The fastest or the most accurate candidate within the limits, or the one with this id (or start of an id).

    Raises:
        UserError: nothing keeps to the limits (the nearest miss is named, exit status 1), or the id is unknown
            or not unique (exit status 2).
    """
    rank: Callable[[Candidate], tuple[float, float]]
    if which == "fastest":
        pool, rank = list(candidates), lambda c: (c.latency.ratio, c.accuracy_drop)
    elif which == "accurate":
        pool, rank = list(candidates), lambda c: (c.accuracy_drop, c.latency.ratio)
    else:
        pool, rank = [_by_id(which, candidates)], lambda c: (0.0, 0.0)
    if not pool:
        raise UserError(
            "The front has no students yet.",
            "Finish the search (`nas resume`), or search longer (`--time-budget`).",
            exit_status=1,
        )
    within = [c for c in pool if _accurate_enough(c, limits) and limits.overshoot(c.latency) <= _ROUNDING]
    if not within:
        raise _nothing_fits(which, pool, limits, is_share)
    return min(within, key=rank).record


def _accurate_enough(candidate: Candidate, limits: Limits) -> bool:
    return limits.max_accuracy_drop is None or candidate.accuracy_drop <= limits.max_accuracy_drop + _ROUNDING


def _by_id(prefix: str, candidates: Sequence[Candidate]) -> Candidate:
    exact = [c for c in candidates if c.record.id == prefix]
    found = exact or [c for c in candidates if prefix and c.record.id.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(c.record.id for c in found or candidates) or "none"
    if found:
        raise UserError(f"More than one student starts with {prefix!r}: {known}.", "Give more of the id.")
    raise UserError(f"No student of this front is called {prefix!r}.", f"Pick accurate, fastest, or one of: {known}.")


def _nothing_fits(which: str, pool: Sequence[Candidate], limits: Limits, is_share: bool) -> UserError:
    """The nearest miss: of the accurate enough ones the fastest; where there is none, the smallest drop."""
    accurate = [c for c in pool if _accurate_enough(c, limits)]
    if accurate:
        nearest = min(accurate, key=lambda c: (limits.overshoot(c.latency), c.accuracy_drop))
    else:
        nearest = min(pool, key=lambda c: (c.accuracy_drop, limits.overshoot(c.latency)))
    limits_words = limits.in_words(is_share)
    if which not in ("fastest", "accurate"):
        problem = f"The student asked for does not have {limits_words}: {nearest.facts(is_share)}."
    else:
        problem = f"No student of the front has {limits_words}. The nearest miss is {nearest.facts(is_share)}."
    return UserError(
        problem,
        "Allow a larger latency or accuracy drop, or search longer (`--time-budget`).",
        exit_status=1,
    )
