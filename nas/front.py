"""The front: the students that no other beats, beside the teacher; as a table and a data frame."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from rich.text import Text

from latency_models.latency import Latency
from nas.pareto import non_dominated
from nas.pick import Candidate, Limits, pick
from nas.record import Record
from nas.words import Sites, about, estimate, milliseconds, score, summary

if TYPE_CHECKING:
    import pandas as pd

FRONT_COLUMNS = (
    "id", "target", "accuracy", "teacher_accuracy", "latency_s", "latency_low_s", "latency_high_s", "latency_ratio",
    "ratio_low", "ratio_high", "latency_source", "known_error", "n_parameters", "size_bytes", "precision",
    "validation_accuracy", "artifact", "recipe", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Front:
    """The non-dominated records in order of latency, and what they stand against.

    Latencies are ordered and compared by their ratio to the teacher's: paired samples, so free of drift between
    visits. The teacher takes part in the comparison (a student it beats is no member) but is no member itself.

    Attributes:
        members: fastest first.
        dominated: scored records that are not members, fastest first.
        failed: records without scores.
        teacher: the record of the empty recipe.
        tested: whether accuracies are on the test set; else on the validation set.
        metric: name of the score; `accuracy` and `agreement` are shares and shown in %.
    """

    members: tuple[Record, ...]
    dominated: tuple[Record, ...]
    failed: tuple[Record, ...]
    teacher: Record
    tested: bool
    metric: str = "accuracy"

    @property
    def target(self) -> str:
        """Label of the target that every latency holds for."""
        return latency_of(self.teacher).target

    @property
    def heading(self) -> str:
        """Label of the target; where nothing was measured it says so."""
        if not self.is_predicted:
            return self.target
        return f"{self.target} ({'' if 'estimate' in self.target else 'estimate, '}not measured)"

    @property
    def is_predicted(self) -> bool:
        """Whether no latency shown was measured."""
        return all(latency_of(record).source == "predicted" for record in (*self.rows(), *self.dominated))

    @property
    def estimate(self) -> str:
        """What must stand beside predicted latencies of members or the teacher, their greatest known error; empty where
        all are measured."""
        return self._estimate(self.rows())

    @property
    def estimate_drawn(self) -> str:
        """The same where those beside the front are shown too."""
        return self._estimate((*self.rows(), *self.dominated))

    @staticmethod
    def _estimate(records: Iterable[Record]) -> str:
        latencies = [latency_of(record) for record in records]
        errors = [latency.known_error for latency in latencies if latency.source == "predicted"]
        known = [error for error in errors if error is not None]
        return estimate(max(known) if len(known) == len(errors) else None) if errors else ""

    @property
    def latency_name(self) -> str:
        """Heading of a column of latencies."""
        return "latency, estimate" if self.is_predicted else "latency, ~ estimate" if self.estimate else "latency"

    @property
    def scores(self) -> str:
        """What is scored, on which set."""
        return f"{self.metric} on the {'test' if self.tested else 'validation'} set"

    @property
    def is_share(self) -> bool:
        """Whether scores are shares, shown in %."""
        return self.metric in ("accuracy", "agreement")

    def accuracy_of(self, record: Record) -> float:
        """The score that counts here: on the test set where the front is tested and the record has one."""
        return _accuracy(record, self.tested)

    def drop_of(self, record: Record) -> float:
        """How far its score lies below the teacher's on the same set; negative where it is better."""
        same_set = self.tested and record.test_accuracy is not None
        return _accuracy(self.teacher, same_set) - _accuracy(record, same_set)

    def ties(self) -> tuple[tuple[Record, Record], ...]:
        """Neighbours in the table (the teacher included) whose latencies are indistinguishable."""
        return tuple((a, b) for a, b in pairwise(self.rows()) if latency_of(a).indistinguishable_from(latency_of(b)))

    def rows(self) -> tuple[Record, ...]:
        """Members and the teacher, fastest first."""
        return tuple(sorted((*self.members, self.teacher), key=_by_latency))

    def frame(self) -> "pd.DataFrame":
        """One row for each member and the teacher, fastest first, with the columns `FRONT_COLUMNS`."""
        import pandas as pd  # takes 0.5 CPU seconds, which a search does not need

        return pd.DataFrame(self.table(), columns=pd.Index(FRONT_COLUMNS))

    def table(self) -> list[dict[str, object]]:
        """The rows of `frame`, by column."""
        return [self._row(record) for record in self.rows()]

    def pick(
        self,
        which: str = "accurate",
        *,
        max_accuracy_drop: float | None = None,
        latency_budget_s: float | None = None,
        latency_budget_ratio: float | None = None,
    ) -> Record:
        """One record: `fastest`, `accurate`, or the one with this id or unique start of an id (also `teacher`).

        Args:
            which: what to look for among the members that keep to the limits.
            max_accuracy_drop: below the teacher, a fraction.
            latency_budget_s: met when the upper end of the interval meets it.
            latency_budget_ratio: the same as a share of the teacher's latency.

        Raises:
            UserError: no member keeps to the limits (the nearest miss is named), or no such id.
        """
        limits = Limits(max_accuracy_drop, latency_budget_s, latency_budget_ratio)
        offered = self.members if which in ("fastest", "accurate") else (*self.members, self.teacher)
        candidates = [Candidate(record, latency_of(record), self.drop_of(record)) for record in offered]
        return pick(which, candidates, limits, self.is_share)

    def _row(self, record: Record) -> dict[str, object]:
        latency = latency_of(record)
        said = estimate(latency.known_error) if latency.source == "predicted" else ""
        values = (
            *(record.id, latency.target, self.accuracy_of(record), self.accuracy_of(self.teacher)),
            *(latency.median_s, latency.low_s, latency.high_s),
            *(latency.ratio, latency.ratio_low, latency.ratio_high, latency.source, latency.known_error),
            *(record.n_parameters, record.size_bytes, precision_of(record), record.accuracy, record.artifact),
            *(record.recipe.to_json(), "; ".join(filter(None, (record.note, said)))),
        )
        return dict(zip(FRONT_COLUMNS, values, strict=True))


def front_of(
    records: Iterable[Record], teacher: Record, test: bool = True, metric: str = "accuracy", target: str | None = None
) -> Front:
    """The front of these records on one target.

    With `test`, and once the teacher and at least one record have a test score, only records with a test score can
    be members: scores on two different sets are never compared. Until then validation scores decide.

    Args:
        records: of one run; those without a latency on the target count as failed, with the reason.
        teacher: the record of the empty recipe.
        test: whether scores on the test set decide once there are any.
        metric: name of the score.
        target: label of one of the run's targets; by default the one that the teacher's own latency holds for.

    Raises:
        ValueError: the teacher has no scores on the target, a latency holds for another target than the teacher's,
            or a score is NaN or infinite.
    """
    if target is not None:
        records, teacher = [record.on(target) for record in records], teacher.on(target)
    if not teacher.ok:
        where = f" on {target}" if target else ""
        raise ValueError(f"the teacher has no scores{where}: {teacher.failure or 'not yet evaluated'}")
    label = latency_of(teacher).target
    students = [record if record.latency is not None else record.on(label) for record in records if record.recipe]
    scored = sorted((record for record in students if record.ok), key=_by_latency)
    foreign = {latency_of(record).target for record in scored} - {label}
    if foreign:
        raise ValueError(f"latencies of {sorted(foreign)} cannot stand beside {label}")
    tested = test and teacher.test_accuracy is not None and any(r.test_accuracy is not None for r in scored)
    entrants = [r for r in scored if not tested or r.test_accuracy is not None]
    points = np.array([[latency_of(r).ratio, _accuracy(r, tested)] for r in (teacher, *entrants)])
    kept = {id(record) for record, keep in zip(entrants, non_dominated(points)[1:], strict=True) if keep}
    return Front(
        members=tuple(record for record in scored if id(record) in kept),
        dominated=tuple(record for record in scored if id(record) not in kept),
        failed=tuple(record for record in students if not record.ok),
        teacher=teacher,
        tested=tested,
        metric=metric,
    )


def latency_of(record: Record) -> Latency:
    """The latency of a scored record.

    Raises:
        ValueError: it has none.
    """
    if record.latency is None:
        raise ValueError(f"{record.id} has no latency")
    return record.latency


def precision_of(record: Record) -> str:
    """What the student computes in: `float32` unless its recipe says otherwise."""
    return str(record.recipe.get("precision", "float32"))


def table(front: Front, budget_ratio: float | None = None, sites: Sites | None = None) -> Table:
    """The front for a terminal, fastest first; ids are cut to what `pick` still understands.

    Args:
        front: what to show.
        budget_ratio: latency budget as a share of the teacher's latency; adds a column that says whether it is met.
        sites: the teacher's sites, for fuller words.
    """
    unit = ", drop in points" if front.is_share else ""
    caption = f"{front.scores}{unit}; latency on {front.target}, ± the wider half of its 95 % interval"
    if front.estimate:
        caption += f"\n~ {front.estimate}"
    tied = {id(below) for _, below in front.ties()}
    if tied:
        caption += "\n≈ latency indistinguishable from the row above (intervals overlap)"
    view = Table(caption=caption, caption_justify="left", header_style="bold", box=None, pad_edge=False)
    view.add_column("id", no_wrap=True)
    for name in (front.metric, "drop", front.latency_name.replace(", ", "\n"), "of teacher's", "faster"):
        view.add_column(name, justify="right", no_wrap=True)
    if budget_ratio is not None:
        view.add_column("fits", no_wrap=True)
    view.add_column("what was changed", min_width=14)
    n_id = _id_length([record.id for record in front.members])
    for record in front.rows():
        cells = _cells(front, record, id(record) in tied, n_id)
        fits = [] if budget_ratio is None else [said_fits(latency_of(record), budget_ratio)]
        words = summary(record.recipe, sites) if record.recipe else "—"
        view.add_row(*(Text(cell) for cell in (*cells, *fits, words)), style=None if record.recipe else "dim")
    return view


def _cells(front: Front, record: Record, tied: bool, n_id: int) -> list[str]:
    """The cells that every table has, from the id to the speed-up."""
    latency = latency_of(record)
    half_width = max(latency.ratio_high - latency.ratio, latency.ratio - latency.ratio_low)
    interval = f" ±{100 * half_width:.1f}" if record.recipe and half_width > 0 else ""
    return [
        record.id[:n_id] if record.recipe else record.id,
        score(front.accuracy_of(record), front.is_share),
        f"{front.drop_of(record) * (100 if front.is_share else 1):.2f}",
        ("≈ " if tied else "") + about(milliseconds(latency.median_s), latency.source),
        about(f"{100 * latency.ratio:.1f}{interval} %", latency.source),
        about(f"{1 / latency.ratio:.2f}\N{MULTIPLICATION SIGN}", latency.source),
    ]


def fits_budget(latency: Latency, budget_ratio: float) -> str:
    """`yes` when the upper end of the interval meets the budget, `no` when the lower end misses it, else `maybe`."""
    if latency.ratio_high <= budget_ratio:
        return "yes"
    return "no" if latency.ratio_low > budget_ratio else "maybe"


def said_fits(latency: Latency, budget_ratio: float) -> str:
    """`fits_budget` as tables show it, with "~" before it where only an estimate says so."""
    return about(fits_budget(latency, budget_ratio), latency.source)


def _id_length(ids: Sequence[str], shortest: int = 6) -> int:
    """How many characters tell these ids apart."""
    longest = max((len(i) for i in ids), default=shortest)
    return next((n for n in range(shortest, longest) if len({i[:n] for i in ids}) == len(ids)), longest)


def _by_latency(record: Record) -> tuple[float, float]:
    latency = latency_of(record)
    return latency.ratio, latency.median_s


def _accuracy(record: Record, tested: bool) -> float:
    value = record.test_accuracy if tested and record.test_accuracy is not None else record.accuracy
    if value is None:
        raise ValueError(f"{record.id} has no accuracy")
    return value
