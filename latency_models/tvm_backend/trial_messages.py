"""What the trial process is asked, and how it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Call:
    """A function of a module and what it is called with; the process ends itself some time after the limit."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    limit_s: float


@dataclass(frozen=True)
class Done:
    """What a call came to."""

    value: object


@dataclass(frozen=True)
class Failed:
    """A call raised; the process goes on."""

    problem: str
    remedy: str
