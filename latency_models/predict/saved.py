"""Predictors as JSON files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latency_models.errors import LatencyError
from latency_models.predict.features import column_names
from latency_models.predict.learned import Learned
from latency_models.predict.predictor import Predictor
from latency_models.predict.regressed import Regressed

VERSION = 5
"""Raised whenever a file of an earlier one would be read wrongly; so are files whose features are others."""


def save(predictor: Predictor, path: Path) -> None:
    """Writes a predictor; the file appears whole or not at all."""
    content = {"version": VERSION, "columns": list(column_names()), "predictor": predictor.to_json()}
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(content), encoding="utf-8")
    unfinished.replace(path)


def load(path: Path) -> Learned | Regressed:
    """The predictor that was saved; it predicts the same to the last bit.

    Raises:
        LatencyError: the file cannot be read, is no predictor, or is of another version.
    """
    remedy = "Run `nas calibrate` again."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LatencyError(f"{path} cannot be read: {error.strerror}.", remedy) from error
    except ValueError as error:
        raise LatencyError(f"{path} is no predictor: {error}.", remedy) from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        version = content.get("version") if isinstance(content, dict) else None
        raise LatencyError(f"{path} is a predictor of version {version}; this is version {VERSION}.", remedy)
    if content.get("columns") != list(column_names()):
        raise LatencyError(f"{path} is a predictor from other features than this version's.", remedy)
    try:
        return predictor_from(content["predictor"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LatencyError(f"{path} is a damaged predictor: {error!r}.", remedy) from error


def predictor_from(values: Mapping[str, Any]) -> Learned | Regressed:
    """Inverse of `Predictor.to_json`.

    Raises:
        KeyError, TypeError, ValueError: these are no predictor's values.
    """
    kinds: dict[str, type[Learned] | type[Regressed]] = {"learned": Learned, "regressed": Regressed}
    return kinds[str(values["kind"])].from_json(values)
