"""The front: the students that no other beats, beside the teacher; as a table, a data frame and files."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table
from rich.text import Text

from latency_models.latency import Latency
from nas.pareto import non_dominated
from nas.pick import Candidate, Limits, pick
from nas.record import Record
from nas.words import Sites, milliseconds, score, summary

# fmt: off
FRONT_COLUMNS = (
    "id", "target", "accuracy", "teacher_accuracy", "latency_s", "latency_low_s", "latency_high_s", "latency_ratio",
    "ratio_low", "ratio_high", "n_parameters", "size_bytes", "precision", "validation_accuracy", "artifact", "recipe",
    "note",
)
_TEXTS = ("id", "recipe", "failure", "note", "artifact", "artifact_digest", "environment", "target", "latency_source",
          "latency_environment")
_COUNTS = ("rung", "n_parameters", "n_macs", "size_bytes", "seed")
_FIGURES = ("accuracy", "test_accuracy", "train_s", "latency_s", "latency_low_s", "latency_high_s", "latency_ratio",
            "ratio_low", "ratio_high")
# fmt: on
_SAMPLES = ("candidate_samples_s", "anchor_samples_s")
_RECORD_FIELDS = {
    **dict.fromkeys(_TEXTS, pa.string()),
    **dict.fromkeys(_COUNTS, pa.int64()),
    **dict.fromkeys(_FIGURES, pa.float64()),
    **dict.fromkeys(_SAMPLES, pa.list_(pa.list_(pa.float64()))),
}


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

    def frame(self) -> pd.DataFrame:
        """One row for each member and the teacher, fastest first, with the columns `FRONT_COLUMNS`."""
        return pd.DataFrame([self._row(record) for record in self.rows()], columns=pd.Index(FRONT_COLUMNS))

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
        note = "; ".join(filter(None, (record.note, "latency predicted" if latency.source == "predicted" else "")))
        values = (
            *(record.id, latency.target, self.accuracy_of(record), self.accuracy_of(self.teacher)),
            *(latency.median_s, latency.low_s, latency.high_s),
            *(latency.ratio, latency.ratio_low, latency.ratio_high, record.n_parameters, record.size_bytes),
            *(precision_of(record), record.accuracy, record.artifact, record.recipe.to_json(), note),
        )
        return dict(zip(FRONT_COLUMNS, values, strict=True))


def front_of(records: Iterable[Record], teacher: Record, test: bool = True, metric: str = "accuracy") -> Front:
    """The front of these records.

    With `test`, and once the teacher and at least one record have a test score, only records with a test score can
    be members: scores on two different sets are never compared. Until then validation scores decide.

    Raises:
        ValueError: the teacher has no scores, a latency holds for another target than the teacher's, or a score
            is NaN or infinite.
    """
    if not teacher.ok:
        raise ValueError(f"the teacher has no scores: {teacher.failure or 'not yet evaluated'}")
    students = [record for record in records if record.recipe]
    scored = sorted((record for record in students if record.ok), key=_by_latency)
    foreign = {latency_of(record).target for record in scored} - {latency_of(teacher).target}
    if foreign:
        raise ValueError(f"latencies of {sorted(foreign)} cannot stand beside {latency_of(teacher).target}")
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


def write_front(front: Front, folder: Path) -> Path:
    """Writes `front.csv` into the folder and returns its path."""
    path = folder / "front.csv"
    front.frame().to_csv(path, index=False)
    return path


def write_records(records: Iterable[Record], path: Path) -> Path:
    """Writes all records, failures included, as Parquet: a row each, the latency flattened, raw samples as lists."""
    rows = [_record_row(record) for record in records]
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(_RECORD_FIELDS)), path)
    return path


def table(front: Front, budget_ratio: float | None = None, sites: Sites | None = None) -> Table:
    """The front for a terminal, fastest first; ids are cut to what `pick` still understands.

    Args:
        front: what to show.
        budget_ratio: latency budget as a share of the teacher's latency; adds a column that says whether it is met.
        sites: the teacher's sites, for fuller words.
    """
    which_set = "test" if front.tested else "validation"
    unit = ", drop in points" if front.is_share else ""
    caption = (
        f"{front.metric} on the {which_set} set{unit}; latency on {front.target}, ± the wider half of its 95 % interval"
    )
    tied = {id(below) for _, below in front.ties()}
    if tied:
        caption += "\n≈ latency indistinguishable from the row above (intervals overlap)"
    view = Table(caption=caption, caption_justify="left", header_style="bold", box=None, pad_edge=False)
    view.add_column("id", no_wrap=True)
    for name in (front.metric, "drop", "latency", "of teacher's", "faster"):
        view.add_column(name, justify="right", no_wrap=True)
    if budget_ratio is not None:
        view.add_column("fits", no_wrap=True)
    view.add_column("what was changed", min_width=14)
    n_id = _id_length([record.id for record in front.members])
    for record in front.rows():
        cells = _cells(front, record, id(record) in tied, n_id)
        fits = [] if budget_ratio is None else [fits_budget(latency_of(record), budget_ratio)]
        words = summary(record.recipe, sites) if record.recipe else "—"
        view.add_row(*(Text(cell) for cell in (*cells, *fits, words)), style=None if record.recipe else "dim")
    return view


def _cells(front: Front, record: Record, tied: bool, n_id: int) -> list[str]:
    """The cells that every table has, from the id to the speed-up."""
    latency = latency_of(record)
    half_width = max(latency.ratio_high - latency.ratio, latency.ratio - latency.ratio_low)
    interval = f" ±{100 * half_width:.1f}" if record.recipe else ""
    return [
        record.id[:n_id] if record.recipe else record.id,
        score(front.accuracy_of(record), front.is_share),
        f"{front.drop_of(record) * (100 if front.is_share else 1):.2f}",
        ("≈ " if tied else "") + ("~" if latency.source == "predicted" else "") + milliseconds(latency.median_s),
        f"{100 * latency.ratio:.1f}{interval} %",
        f"{1 / latency.ratio:.2f}\N{MULTIPLICATION SIGN}",
    ]


def fits_budget(latency: Latency, budget_ratio: float) -> str:
    """`yes` when the upper end of the interval meets the budget, `no` when the lower end misses it, else `maybe`."""
    if latency.ratio_high <= budget_ratio:
        return "yes"
    return "no" if latency.ratio_low > budget_ratio else "maybe"


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


def _record_row(record: Record) -> dict[str, object]:
    row: dict[str, object] = {
        **{name: getattr(record, name) for name in _RECORD_FIELDS if hasattr(record, name)},
        "recipe": record.recipe.to_json(),
        "environment": json.dumps(dict(record.environment), sort_keys=True),
    }
    latency = record.latency
    if latency is None:
        return row
    return row | {
        "latency_s": latency.median_s,
        "latency_low_s": latency.low_s,
        "latency_high_s": latency.high_s,
        "latency_ratio": latency.ratio,
        "ratio_low": latency.ratio_low,
        "ratio_high": latency.ratio_high,
        "latency_source": latency.source,
        "target": latency.target,
        "latency_environment": json.dumps(dict(latency.environment), sort_keys=True),
        "candidate_samples_s": [visit.candidate_s for visit in latency.visits],
        "anchor_samples_s": [visit.anchor_s for visit in latency.visits],
    }
