"""The fronts of a run on several targets, and how far students of one are from another.

All targets share the records; each has its own front (`nas.front`). A student that was chosen for one target and runs
on another may be beaten there: a gap says by how much.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import fmean

from latency_models.latency import Latency
from nas.front import Front, front_of, latency_of
from nas.record import Record


@dataclass(frozen=True)
class Gap:
    """How far a member of one target's front is from the front of another; None where it cannot be said.

    Attributes:
        record: the member, seen from the target that it is run on.
        chosen: its latency on the target whose front it is on.
        missing: why it is not compared (what the target refuses, or what is unknown); empty where it is.
        slower: its latency as a multiple of the fastest one's on that front (or the teacher's) that is at least as
            accurate; 1 where it is on both fronts.
        accuracy_lost: how far its score lies below the most accurate one's on that front (or the teacher's) that is
            no slower; 0 where it is on both fronts.
        rival: the fastest one of `slower`; itself where it is on both fronts.
        tied: whether its latency and the rival's are indistinguishable; true where it is on both fronts.
    """

    record: Record
    chosen: Latency
    missing: str = ""
    slower: float | None = None
    accuracy_lost: float | None = None
    rival: Record | None = None
    tied: bool = False


@dataclass(frozen=True)
class Gaps:
    """The gaps of all members of one target's front on another target.

    Attributes:
        chosen_for, run_on: labels of the targets.
        gaps: of the members, fastest on `chosen_for` first.
        estimate: what must be said of the latencies on `run_on`; empty where they were measured.
        chosen_by_estimate: whether latencies on `chosen_for` are predicted.
    """

    chosen_for: str
    run_on: str
    gaps: tuple[Gap, ...]
    estimate: str = ""
    chosen_by_estimate: bool = False

    @property
    def slower(self) -> tuple[float, ...]:
        """Of every member that was compared."""
        return tuple(gap.slower for gap in self.gaps if gap.slower is not None)

    @property
    def accuracy_lost(self) -> tuple[float, ...]:
        """Of every member that was compared."""
        return tuple(gap.accuracy_lost for gap in self.gaps if gap.accuracy_lost is not None)

    @property
    def missing(self) -> dict[str, tuple[Record, ...]]:
        """The members that were not compared, by the reason."""
        reasons = dict.fromkeys(gap.missing for gap in self.gaps if gap.missing)
        return {reason: tuple(gap.record for gap in self.gaps if gap.missing == reason) for reason in reasons}

    @property
    def n_on_both(self) -> int:
        """How many members are on the other front as well."""
        return sum(gap.rival is gap.record for gap in self.gaps)

    @property
    def mean_slower(self) -> float:
        """Arithmetic mean of `slower`, 1 where nothing was compared."""
        return fmean(self.slower) if self.slower else 1.0

    @property
    def mean_accuracy_lost(self) -> float:
        """Arithmetic mean of `accuracy_lost`, 0 where nothing was compared."""
        return fmean(self.accuracy_lost) if self.accuracy_lost else 0.0


def fronts_of(
    records: Iterable[Record], teacher: Record, targets: Sequence[str], test: bool = True, metric: str = "accuracy"
) -> dict[str, Front]:
    """The front on each target, by its label, in the order of `targets`.

    Args:
        records: of one run.
        teacher: the record of the empty recipe, with a latency on every target.
        targets: labels.
        test, metric: as in `front_of`.

    Raises:
        ValueError: no targets, or as `front_of`.
    """
    if not targets:
        raise ValueError("a run has at least one target")
    records = list(records)
    return {target: front_of(records, teacher, test, metric, target) for target in targets}


def gaps_between(fronts: Mapping[str, Front]) -> tuple[Gaps, ...]:
    """How far the members of each front are from each other front, for all ordered pairs of targets."""
    return tuple(_gaps(fronts[a], fronts[b]) for a, b in permutations(fronts, 2))


def members_of(fronts: Mapping[str, Front]) -> tuple[tuple[str, Record], ...]:
    """Every student that is on at least one front, once: label of the first such target, and its record from there."""
    found: dict[str, tuple[str, Record]] = {}
    for label, front in fronts.items():
        for member in front.members:
            found.setdefault(member.id, (label, member))
    return tuple(found.values())


def _gaps(chosen_for: Front, run_on: Front) -> Gaps:
    gaps = tuple(_gap(member, latency_of(member), run_on) for member in chosen_for.members)
    return Gaps(chosen_for.target, run_on.target, gaps, run_on.estimate, bool(chosen_for.estimate))


def _gap(member: Record, chosen: Latency, front: Front) -> Gap:
    record = member.on(front.target)
    if record.latency is None:
        return Gap(record, chosen, missing=record.failure or "no latency there")
    if front.tested and record.test_accuracy is None:
        return Gap(record, chosen, missing="no score on the test set")
    if any(member.id == record.id for member in front.members):
        return Gap(record, chosen, "", 1.0, 0.0, record, True)
    # The teacher takes part: a student that it beats is on no front, so it may be the only rival.
    own, ratio = front.accuracy_of(record), record.latency.ratio
    as_accurate = [one for one in front.rows() if front.accuracy_of(one) >= own]
    no_slower = [one for one in front.rows() if latency_of(one).ratio <= ratio]
    rival = min(as_accurate, key=lambda one: latency_of(one).ratio)
    best = max(front.accuracy_of(one) for one in no_slower)
    slower = ratio / latency_of(rival).ratio
    return Gap(record, chosen, "", slower, best - own, rival, record.latency.indistinguishable_from(latency_of(rival)))
