"""What one candidate of a run leaves in memory for the next: nothing that a record rests on, only what spares work."""

from dataclasses import dataclass, field
from typing import final

from torch import Tensor, nn

from nas.export import teacher_template
from nas.template import Template
from search_spaces.recipe import Recipe
from search_spaces.transform import Student

N_STUDENTS = 2
"""Repaired students that are kept: a search asks for an architecture's precisions one after the other."""


@final
@dataclass(eq=False)
class Kept:
    """Made anew with every process; not to be shared between threads.

    Attributes:
        students: the latest repaired students by architecture.
        template: of the teacher, None until the first export; `is_traced` says whether it was tried.
    """

    students: dict[Recipe, Student] = field(default_factory=dict)
    template: Template | None = None
    is_traced: bool = False

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
