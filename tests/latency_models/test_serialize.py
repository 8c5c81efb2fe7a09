import json

import pytest

from latency_models.latency import Latency, Visit
from latency_models.serialize import latency_from_json, latency_to_json, visit_from_json, visit_to_json

VISIT = Visit((0.1 + 0.2, 1e-300), (1 / 3, 5e-324))
LATENCY = Latency(0.1 + 0.2, 1 / 3, 2 / 3, 0.7, 0.6, 0.8, "measured", "cpu-1t", (VISIT, VISIT), {"processor": "x"})


def test_round_trips_keep_every_bit() -> None:
    assert visit_from_json(json.loads(json.dumps(visit_to_json(VISIT)))) == VISIT
    assert latency_from_json(json.loads(json.dumps(latency_to_json(LATENCY)))) == LATENCY


@pytest.mark.parametrize(
    "change", [{"source": "guessed"}, {"ratio": None}, {"visits": 3}, {"environment": None}, {"visits": [{}]}]
)
def test_other_values_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"a latency|a visit"):
        latency_from_json({**latency_to_json(LATENCY), **change})


def test_missing_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="anchor_s"):
        visit_from_json({"candidate_s": [1.0]})
