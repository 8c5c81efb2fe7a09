"""What one candidate of a run leaves in memory for the next: nothing that a record rests on, only what spares work."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from torch import Tensor, nn

from nas.export import teacher_template
from nas.latencies import everywhere
from nas.record import Record
from nas.template import Template
from search_spaces.recipe import Recipe
from search_spaces.transform import Student

N_STUDENTS = 2
"""Repaired students that are kept: a search asks for an architecture's precisions one after the other."""


@dataclass(frozen=True)
class Standing:
    """Where a scored record stands.

    Attributes:
        rung: of the record.
        accuracy: of the record.
        slowest: upper end of the latency ratio's interval, by target.
    """

    rung: int
    accuracy: float
    slowest: Mapping[str, float]


@final
@dataclass(eq=False)
class Kept:
    """Made anew with every process; not to be shared between threads.

    Attributes:
        students: the latest repaired students by architecture.
        template: of the teacher, None until the first export; `is_traced` says whether it was tried.
        standings: of the run's scored records by recipe digest and rung; None until the ledger has been read.
    """

    students: dict[Recipe, Student] = field(default_factory=dict)
    template: Template | None = None
    is_traced: bool = False
    standings: dict[tuple[str, int], Standing] | None = None

    def template_of(self, teacher: nn.Module, example: tuple[Tensor, ...]) -> Template | None:
        """The teacher's template, traced when first asked for."""
        if not self.is_traced:
            self.template, self.is_traced = teacher_template(teacher, example), True
        return self.template

    def keep_student(self, architecture: Recipe, student: Student) -> None:
        """Keeps a repaired student, and forgets the one that has been kept longest."""
        self.students[architecture] = student
        while len(self.students) > N_STUDENTS:
            del self.students[next(iter(self.students))]

    def keep_standing(self, record: Record) -> None:
        """Keeps where a record stands, if it has scores."""
        if self.standings is not None and record.failure is None and record.accuracy is not None and record.recipe:
            slowest = {label: latency.ratio_high for label, latency in everywhere(record).items()}
            self.standings[record.recipe.digest, record.rung] = Standing(record.rung, record.accuracy, slowest)

    def bar(self, record: Record) -> float | None:
        """The accuracy below which a timed record is beaten on each of its targets, by others of its rung.

        Only records that are faster beyond doubt count: the upper end of their interval is below the lower end of this
        one's. None where on some target nothing is faster.
        """
        bars = []
        for label, latency in everywhere(record).items():
            faster = [
                one.accuracy
                for one in (self.standings or {}).values()
                if one.rung == record.rung and one.slowest.get(label, 2 * latency.ratio_low) < latency.ratio_low
            ]
            bars.append(max(faster, default=None))
        found = [bar for bar in bars if bar is not None]
        return min(found) if found and len(found) == len(bars) else None
