import json
from pathlib import Path

import pytest

from latency_models.errors import LatencyError
from latency_models.predict.learned import learn_table
from latency_models.predict.saved import load, save
from tests.latency_models.predict import networks


@pytest.fixture
def file(tmp_path: Path) -> Path:
    table = networks.table(6)
    save(learn_table(table, networks.seconds_of(table), "board"), tmp_path / "p.json")
    return tmp_path / "p.json"


def changed(file: Path, **values: object) -> Path:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    return file


def test_another_version_is_refused_with_what_to_do(file: Path) -> None:
    with pytest.raises(LatencyError, match=r"version 0; this is version 5.*nas calibrate"):
        load(changed(file, version=0))


def test_other_features_are_refused(file: Path) -> None:
    with pytest.raises(LatencyError, match="other features"):
        load(changed(file, columns=["a"]))


@pytest.mark.parametrize("predictor", [{}, {"kind": "guess"}, {"kind": "learned", "target": "x"}])
def test_damaged_files_are_refused(file: Path, predictor: object) -> None:
    with pytest.raises(LatencyError, match="damaged"):
        load(changed(file, predictor=predictor))


def test_what_is_no_predictor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match="cannot be read"):
        load(tmp_path / "none.json")
    (tmp_path / "p.json").write_text("{")
    with pytest.raises(LatencyError, match="no predictor"):
        load(tmp_path / "p.json")
    (tmp_path / "p.json").write_text("[]")
    with pytest.raises(LatencyError, match="version None"):
        load(tmp_path / "p.json")
