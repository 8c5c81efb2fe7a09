"""Reading a target's profile: a flat YAML file of the fields of `Target`, `Processor` and `Remote`."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from latency_models.errors import LatencyError
from latency_models.target import Processor, Remote, Target

Values = Mapping[str, Any]
"""Field name to value of the field's type."""

OWN_KEYS: dict[str, Any] = {"like": str, "cores": int}
"""`like`: a shipped profile whose values hold where this file is silent. `cores`: how many one inference may use."""
GROUPS: tuple[type, ...] = (Target, Processor, Remote)
UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30}
NUMBER = re.compile(r"([-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?)\s*(ki|mi|gi|k|m|g|)(?:b|hz|s|)", re.IGNORECASE)
AT_LEAST = {
    "n_threads": 1, "cores": 1, "vector_bits": 64, "n_vector_registers": 8, "port": 1, "clock_hz": 0, "connect_s": 0.1,
    "run_s": 1, "known_error": 0,
}  # fmt: skip
AT_MOST = {"n_threads": 1024, "cores": 1024, "vector_bits": 2048, "n_vector_registers": 256, "port": 65535}


def keys() -> dict[str, Any]:
    """Every key that a profile may hold, with its type."""
    nested = ("processor", "remote")
    return OWN_KEYS | {
        field.name: field.type for group in GROUPS for field in fields(group) if field.name not in nested
    }


def read_profile(path: Path) -> dict[str, Any]:
    """The values of a profile, each of its field's type; dashes and underscores in keys are alike.

    Raises:
        LatencyError: the file cannot be read, is not YAML, or a key is unknown or holds what it cannot.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise LatencyError(f"The profile {path} cannot be read: {reason}.", "Check the path.") from error
    return parse_profile(text, str(path))


def parse_profile(text: str, where: str) -> dict[str, Any]:
    """The values of a profile's text; `where` names it in errors.

    Raises:
        LatencyError: as for `read_profile`.
    """
    remedy = "Write one `name: value` a line, see docs/targets.md."
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LatencyError(f"The profile {where} is not YAML: {' '.join(str(error).split())}.", remedy) from error
    if not isinstance(content, dict):
        raise LatencyError(f"The profile {where} does not hold names and values.", remedy)
    known, values = keys(), dict[str, Any]()
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean `{near[0]}`? " if near else ""
            raise LatencyError(f"The profile {where} has the unknown key `{key}`.", f"{hint}Keys: {', '.join(known)}.")
        if name in values:
            raise LatencyError(f"The profile {where} gives `{name}` twice.", "Keep one of the two.")
        values[name] = _checked(name, known[name], value, where)
    return values


def build(group: type, values: Values) -> dict[str, Any]:
    """The part of the values that are fields of a dataclass."""
    return {field.name: values[field.name] for field in fields(group) if field.name in values}


def _checked(name: str, kind: Any, value: object, where: str) -> Any:
    """The value as its field's type and within its limits."""
    converted = _converted(kind, value)
    if converted is None:
        raise LatencyError(
            f"`{name}` in the profile {where} is {value!r}, which is not {_wanted(kind)}.", f"Write {_wanted(kind)}."
        )
    low, high = AT_LEAST.get(name), AT_MOST.get(name)
    if (low is not None and converted < low) or (high is not None and converted > high):
        limits = f"at least {low}" if high is None else f"from {low} to {high}"
        raise LatencyError(f"`{name}` in the profile {where} is {value!r}.", f"Write a number {limits}.")
    return converted


def _converted(kind: Any, value: object) -> Any:
    """The value as a type, or None where it is something else."""
    if get_origin(kind) is Literal:
        return value if value in get_args(kind) else None
    if kind is str:
        return value.strip() if isinstance(value, str) else None
    if kind is bool:
        return value if isinstance(value, bool) else None
    if kind in (float, float | None):
        return _number(value)
    if kind is int:
        number = _number(value)
        return int(number) if number is not None and number == int(number) else None
    entry = get_args(kind)[0]
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(parts, list):
        return None
    entries = [_converted(entry, part) for part in parts]
    return None if None in entries else tuple(entries)


def _number(value: object) -> float | None:
    """`1500`, `1.5e9`, `1.5 GHz`, `32 KiB`, `2 MiB`; no multiple is a thousandth."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if abs(value) < float("inf") else None
    found = NUMBER.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(found[1]) * UNITS[found[2].lower()] if found else None


def _wanted(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if get_origin(kind) is tuple:
        return {int: "a list of whole numbers", float: "a list of numbers"}.get(get_args(kind)[0], "a list of words")
    return {str: "a text", bool: "true or false", int: "a whole number"}.get(kind, "a number")
