"""What one candidate of a run leaves in memory for the next: nothing that a record rests on, only what spares work."""

from dataclasses import dataclass, field
from typing import final

from torch import Tensor, nn

from nas.export import teacher_template
from nas.template import Template
from search_spaces.recipe import Recipe
from search_spaces.transform import Student

N_STUDENTS, SIZE_BYTES = 2, 2**28
"""Repaired students that are kept in any case, as a search asks for an architecture's precisions one after the other;
and how much memory more of them may take, as some are trained or confirmed later."""


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
        """Keeps a repaired student, and forgets those that have been kept longest where there are too many."""
        self.students[architecture] = student
        while len(self.students) > N_STUDENTS and sum(map(_size_bytes, self.students.values())) > SIZE_BYTES:
            del self.students[next(iter(self.students))]


def _size_bytes(student: Student) -> int:
    module = student.module
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
