"""Sites, choices and recipes: the words in which a student is described."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

Choice = str | int
"""One option of a site, a JSON scalar: a kept width, `keep`/`drop`, `tucker2:0.5`, `int8`."""

Kind = Literal["channels", "depth", "resolution", "factorize", "precision"]


@dataclass(frozen=True)
class Site:
    """A place in the teacher where a choice can be made.

    Attributes:
        name: unique and stable for a teacher, `kind:module.path`.
        kind: the transform that carries it out.
        choices: the options; the first is always "as in the teacher".
    """

    name: str
    kind: Kind
    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        if len(self.choices) < 2 or len(set(self.choices)) != len(self.choices):
            raise ValueError(f"site {self.name} needs at least two different choices, got {self.choices}")

    @property
    def unchanged(self) -> Choice:
        """The choice that leaves the teacher as it is."""
        return self.choices[0]


@dataclass(frozen=True)
class Recipe(Mapping[str, Choice]):
    """Site name to choice for every site that differs from the teacher. The empty recipe is the teacher.

    Immutable and hashable; two recipes with the same choices are equal whatever the order they were given in.
    """

    items_: tuple[tuple[str, Choice], ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "items_", tuple(sorted(self.items_, key=lambda item: item[0])))
        if len({name for name, _ in self.items_}) != len(self.items_):
            raise ValueError("a recipe names each site once")

    @classmethod
    def of(cls, choices: Mapping[str, Choice]) -> "Recipe":
        """The recipe with these choices, each of which must differ from the teacher."""
        return cls(tuple(choices.items()))

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Inverse of `to_json`.

        Raises:
            ValueError: the text is not a JSON object of site names to strings or whole numbers.
        """
        choices = json.loads(text)
        if not isinstance(choices, dict) or not all(
            isinstance(c, str | int) and not isinstance(c, bool) for c in choices.values()
        ):
            raise ValueError("a recipe is a JSON object of site names to strings or whole numbers")
        return cls.of(choices)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no white space."""
        return json.dumps(dict(self.items_), sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def replace(self, site: Site, choice: Choice) -> "Recipe":
        """This recipe with another choice at one site; the teacher's own choice removes the entry.

        Raises:
            ValueError: the site has no such choice.
        """
        if choice not in site.choices:
            raise ValueError(f"site {site.name} offers {site.choices}, not {choice!r}")
        rest = {name: c for name, c in self.items_ if name != site.name}
        return Recipe.of(rest if choice == site.unchanged else {**rest, site.name: choice})

    def __getitem__(self, name: str) -> Choice:
        for key, choice in self.items_:
            if key == name:
                return choice
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.items_)

    def __len__(self) -> int:
        return len(self.items_)
