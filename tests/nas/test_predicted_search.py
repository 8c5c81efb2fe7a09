"""A whole search with predicted latencies: discarded by prediction, decided by a clock."""

from collections.abc import Mapping
from pathlib import Path

import pytest

import nas
from latency_models.artifact import Artifact
from latency_models.latency import Visit
from latency_models.measured import Measured
from latency_models.timing import Plan
from nas.cli import main
from nas.errors import UserError
from tests.nas.conftest import DATA, SPEC


@pytest.mark.slow
def test_the_front_is_measured_and_most_others_are_not(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    common = [SPEC, "--data", DATA, "--weights", str(tiny_weights), "--quiet", "--transforms", "channels,depth"]
    assert main(["calibrate", *common, "--n", "20", "--precision", "float32"]) == 0
    asked: list[str] = []
    visits = Measured.visits

    def counted(self: Measured, artifacts: Mapping[str, Artifact], plan: Plan | None = None) -> dict[str, Visit]:
        asked.extend(one.digest for one in artifacts.values())
        return visits(self, artifacts, plan)

    monkeypatch.setattr(Measured, "visits", counted)
    run = nas.search(
        SPEC,
        DATA,
        weights=tiny_weights,
        latency_budget="80%",
        max_accuracy_drop="10%",
        time_budget="cpu:20s",
        latency="predicted",
        precision=("float32",),
        transforms=("channels", "depth"),
        training_threads=1,
        n_calibration=128,
        out=tmp_path / "run",
        style="silent",
    )
    sources = {record.id: record.latency.source for record in run.records if record.latency is not None}
    assert {sources[record.id] for record in run.front.rows()} == {"measured"}
    guessed = [record for record in run.records if sources.get(record.id) == "predicted"]
    assert len(guessed) >= 5
    # A training that brings nothing leaves the file as it was, so a measured student can share a predicted one's.
    measured = {record.artifact_digest for record in run.records if sources.get(record.id) == "measured"}
    assert not ({record.artifact_digest for record in guessed} - measured) & set(asked)
    frame = run.front.frame()
    assert set(frame["latency_source"]) == {"measured"}
    assert frame["known_error"].isna().all()
    capsys.readouterr()
    assert main(["front", str(run.folder)]) == 0
    assert "estimate" not in capsys.readouterr().out
    page = (run.folder / "front.html").read_text()
    assert "predicted" in page  # what lies beside the front says so


def test_latency_is_measured_or_predicted() -> None:
    with pytest.raises(UserError, match="The setting latency names the unknown `guessed`"):
        nas.search(SPEC, DATA, latency_budget="50%", latency="guessed")
    assert main(["search", SPEC, "--data", DATA, "--latency-budget", "50%", "--latency", "guessed"]) == 2
