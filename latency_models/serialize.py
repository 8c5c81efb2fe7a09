"""Visits and latencies to plain dictionaries of JSON values and back, exactly."""

from collections.abc import Mapping
from typing import Any

from latency_models.latency import Latency, Visit

FIGURES = ("median_s", "low_s", "high_s", "ratio", "ratio_low", "ratio_high")


def visit_to_json(visit: Visit) -> dict[str, Any]:
    """A dictionary that `json.dumps` takes; floats keep every bit."""
    return {"candidate_s": list(visit.candidate_s), "anchor_s": list(visit.anchor_s)}


def visit_from_json(values: Mapping[str, Any]) -> Visit:
    """Inverse of `visit_to_json`.

    Raises:
        ValueError: a field is missing or of the wrong kind.
    """
    try:
        return Visit(tuple(map(float, values["candidate_s"])), tuple(map(float, values["anchor_s"])))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a visit: {error!r}") from error


def latency_to_json(latency: Latency) -> dict[str, Any]:
    """A dictionary that `json.dumps` takes; floats keep every bit."""
    return {
        **{name: getattr(latency, name) for name in FIGURES},
        "source": latency.source,
        "target": latency.target,
        "visits": [visit_to_json(visit) for visit in latency.visits],
        "environment": dict(latency.environment),
        "known_error": latency.known_error,
    }


def latency_from_json(values: Mapping[str, Any]) -> Latency:
    """Inverse of `latency_to_json`.

    Raises:
        ValueError: a field is missing or of the wrong kind.
    """
    try:
        source = values["source"]
        if source not in ("measured", "predicted"):
            raise ValueError(f"a latency is measured or predicted, not {source!r}")
        return Latency(
            **{name: float(values[name]) for name in FIGURES},
            source=source,
            target=str(values["target"]),
            visits=tuple(visit_from_json(visit) for visit in values["visits"]),
            environment={str(key): str(value) for key, value in values["environment"].items()},
            known_error=None if values["known_error"] is None else float(values["known_error"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a latency: {error!r}") from error
