"""What the artifact computes in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from search_spaces.recipe import Choice, Kind, Site
from search_spaces.transform import Student, Transform

SITE = "precision"


@dataclass(frozen=True, eq=False)
class Precision(Transform):
    """One site for the whole network; the weights stay float32 here and are quantised at export.

    Attributes:
        options: `float32` first.
    """

    options: tuple[str, ...] = ("float32", "int8")
    kind: Kind = "precision"

    @property
    def sites(self) -> tuple[Site, ...]:
        return (Site(SITE, self.kind, self.options),) if len(self.options) > 1 else ()

    def apply(self, student: Student, choices: Mapping[str, Choice]) -> Student:
        choice = choices.get(SITE, self.options[0])
        return replace(student, precision="int8" if choice == "int8" else "float32")
