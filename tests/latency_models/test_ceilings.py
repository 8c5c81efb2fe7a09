import json
from pathlib import Path

import pytest

from latency_models import ceilings as module
from latency_models.ceilings import Ceilings, Level, ceilings, measure_ceilings

KNOWN = Ceilings(2, {"float32": 1e9}, (Level("L1", 1000, 4e9), Level("L2", 10_000, 2e9), Level("memory", 0, 1e9)))


def test_bytes_lie_in_the_innermost_level_that_holds_them() -> None:
    assert [KNOWN.level(n).name for n in (1, 1000, 1001, 10_000, 10_001)] == ["L1", "L1", "L2", "L2", "memory"]


def test_the_roofline_is_the_slower_of_arithmetic_and_memory() -> None:
    assert KNOWN.least_s(1000, 1000, "float32") == (1e-6, "compute")
    assert KNOWN.least_s(1000, 20_000, "float32") == (20e-6, "memory")
    assert KNOWN.least_s(1000, 1000, "float16") is None


@pytest.mark.parametrize("n_threads", [1, 2])
def test_this_machine_computes_and_reads(n_threads: int) -> None:
    found = measure_ceilings(n_threads)
    assert found.n_threads == n_threads
    assert set(found.flops_per_s) == {"float32", "int8"}
    assert all(value > 1e8 for value in found.flops_per_s.values())
    assert found.levels[-1].name == "memory"
    rates = [level.bytes_per_s for level in found.levels]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 1e8


def test_they_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def measure(n_threads: int) -> Ceilings:
        measured.append(n_threads)
        return KNOWN

    monkeypatch.setattr(module, "measure_ceilings", measure)
    assert ceilings(tmp_path / "new", 2) == KNOWN
    assert ceilings(tmp_path / "new", 2) == KNOWN
    assert measured == [2]
    ceilings(tmp_path / "new", 1)
    assert measured == [2, 1]
    ceilings(tmp_path / "new", 2, fresh=True)
    assert measured == [2, 1, 2]


@pytest.mark.parametrize("damage", ["", "{}", '{"levels": [], "flops_per_s": {}, "n_threads": 1}', "nonsense"])
def test_a_damaged_file_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    monkeypatch.setattr(module, "measure_ceilings", lambda n_threads: KNOWN)
    ceilings(tmp_path, 2)
    (path,) = tmp_path.glob("ceilings-*.json")
    path.write_text(damage)
    assert ceilings(tmp_path, 2) == KNOWN
    assert json.loads(path.read_text())["environment"]["n_threads"] == "2"
