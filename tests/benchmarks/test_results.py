from pathlib import Path

import pytest
from clutter.results import (
    Entry,
    Measured,
    Point,
    Timing,
    distinct,
    is_whole,
    load_entries,
    load_timings,
    point_of,
    save_entry,
    save_timing,
)


def test_entries_come_back_by_budget_with_ours_first(tmp_path: Path) -> None:
    file = tmp_path / "a.onnx"
    file.write_bytes(b"network")
    point = point_of("a", file, 0.97)
    assert (point.size_bytes, point.validation_accuracy) == (7, 0.97)
    entries = [
        Entry(contender, "digits", budget_s, seed, 60.5, 61.0, (point,), {"commit": "abc"})
        for contender, budget_s, seed in [
            ("scratch-wide", 60.0, 0),
            ("understudy", 180.0, 0),
            ("understudy", 60.0, 1),
            ("understudy", 60.0, 0),
        ]
    ]
    for entry in entries:
        save_entry(entry, tmp_path)
    assert load_entries(tmp_path) == [entries[3], entries[2], entries[0], entries[1]]


def test_a_file_that_changed_or_went_is_not_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.onnx"
    file.write_bytes(b"network")
    point = point_of("a", file)
    assert is_whole(point)
    file.write_bytes(b"another")
    assert not is_whole(point)
    file.unlink()
    assert not is_whole(point)


def test_timings_come_back_by_budget(tmp_path: Path) -> None:
    def timing(accuracy: float) -> Timing:
        return Timing(accuracy, (1e-3, 2e-3), (1.0, 0.99), {"d1": Measured(0.95, (0.2, 0.21))}, {"at": "today"})

    for budget_s, accuracy in [(180.0, 0.97), (20.0, 0.96), (0.5, 0.95)]:
        save_timing(timing(accuracy), tmp_path, budget_s)
    assert list(load_timings(tmp_path).items()) == [(0.5, timing(0.95)), (20.0, timing(0.96)), (180.0, timing(0.97))]


def test_equal_files_are_timed_once() -> None:
    points = [Point("a", "a.onnx", "d1", 1), Point("b", "b.onnx", "d2", 1), Point("c", "c.onnx", "d1", 1)]
    assert sorted(point.digest for point in distinct(points)) == ["d1", "d2"]


def test_a_result_is_never_not_a_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_entry(Entry("understudy", "digits", 60.0, 0, float("nan"), 1.0, ()), tmp_path)
