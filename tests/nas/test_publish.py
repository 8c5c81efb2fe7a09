from pathlib import Path

import pytest

from nas.fronts import fronts_of
from nas.publish import publish
from nas.time_used import PhaseTime
from tests.nas.records import MEMBERS, RECORDS, SITES, TARGET, TEACHER
from tests.nas.several import HALF_NARROW, SEVERAL, SEVERAL_TEACHER, TARGETS

TIMES = (PhaseTime("starting", 1.0, 0.5), PhaseTime("scoring", 3.0, 2.5, 4, 3, 2))


@pytest.mark.parametrize("targets", [(TARGET,), TARGETS])
def test_publishes_everything_once(tmp_path: Path, targets: tuple[str, ...]) -> None:
    several = len(targets) > 1
    records, teacher = (SEVERAL, SEVERAL_TEACHER) if several else (RECORDS, TEACHER)
    fronts = fronts_of(records, teacher, targets)
    publish(tmp_path, fronts, [teacher, *records], SITES, {"seed": "0"}, "digits", dict.fromkeys(targets, 0.4), TIMES)
    expected = {"time.csv", "cards", "front.csv", "front.html", "front.png", "records.parquet", "study.journal"}
    assert {path.name for path in tmp_path.iterdir()} == expected | ({"targets.csv"} if several else set())
    cards = {path.stem for path in (tmp_path / "cards").glob("*.md")}
    assert {member.id for member in MEMBERS} <= cards
    assert (HALF_NARROW.id in cards) == several
    page = (tmp_path / "front.html").read_text(encoding="utf-8")
    assert all(f"cards/{name}.md" in page for name in cards)
    assert "scoring" in page
    assert (tmp_path / "time.csv").read_text().splitlines() == [
        "phase,wall_s,cpu_s,n_built,n_timed,n_scored",
        "starting,1.0,0.5,0,0,0",
        "scoring,3.0,2.5,4,3,2",
    ]
