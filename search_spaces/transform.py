"""The one base class of what turns choices into a student."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import nn

from search_spaces.recipe import Choice, Kind, Site
from search_spaces.slicing import Keep


@dataclass(frozen=True, eq=False)
class Student:
    """The module that a recipe builds from the teacher.

    Attributes:
        module: in eval mode; shares no memory with the teacher.
        precision: what its artifact computes in.
        keeps: which of the teacher's channels each layer kept; repair needs it.
        without_effect: site name to why its choice changed nothing; every other choice of the recipe did.
    """

    module: nn.Module
    precision: Literal["float32", "float16", "int8"] = "float32"
    keeps: Mapping[str, Keep] = field(default_factory=dict)
    without_effect: Mapping[str, str] = field(default_factory=dict)


class Transform(ABC):
    """Finds sites of one kind in a teacher and carries out choices at them.

    Contract (tests/search_spaces/contract.py): `apply` returns a new student, leaves its argument and the teacher
    bit-identical, keeps the shape of the output, and changes the cost (or the precision) for every choice but the
    first, or says in `Student.without_effect` why it cannot.
    """

    kind: Kind

    @property
    @abstractmethod
    def sites(self) -> tuple[Site, ...]:
        """Every site of this kind, in a stable order."""

    def apply(self, student: Student, choices: Mapping[str, Choice]) -> Student:
        """A new student with these choices carried out.

        Args:
            student: with every transform before this one in `space.ORDER` applied.
            choices: site name to choice, of this transform's sites only; sites not named stay as they are.
        """
        return self.change(replace(student, module=copy.deepcopy(student.module)), choices)

    @abstractmethod
    def change(self, student: Student, choices: Mapping[str, Choice]) -> Student:
        """`apply` for a student whose module nobody else has: it may be written into."""
