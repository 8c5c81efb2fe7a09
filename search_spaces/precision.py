"""What the artifact computes in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from search_spaces.recipe import Choice, Kind, Site
from search_spaces.transform import Student, Transform

SITE = "precision"
Number = Literal["float32", "float16", "int8"]
NUMBERS: tuple[Number, ...] = get_args(Number)
"""What a student's artifact may compute in."""


@dataclass(frozen=True, eq=False)
class Precision(Transform):
    """One site for the whole network; the weights stay float32 here and are converted at export.

    Attributes:
        options: among `NUMBERS`, `float32` first.

    Raises:
        ValueError: options that are none.
    """

    options: tuple[str, ...] = ("float32", "int8")
    kind: Kind = "precision"

    def __post_init__(self) -> None:
        known = set(self.options) <= set(NUMBERS) and len(set(self.options)) == len(self.options)
        if not known or self.options[:1] != ("float32",):
            raise ValueError(f"precisions are float32 and then any of {', '.join(NUMBERS[1:])}, not {self.options}")

    @property
    def sites(self) -> tuple[Site, ...]:
        return (Site(SITE, self.kind, self.options),) if len(self.options) > 1 else ()

    def change(self, student: Student, choices: Mapping[str, Choice]) -> Student:
        choice = choices.get(SITE, "float32")
        return replace(student, precision=next(number for number in NUMBERS if number == choice))
