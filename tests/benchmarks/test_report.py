from collections.abc import Callable
from pathlib import Path

import pytest
from clutter.campaign import Campaign
from clutter.hypervolume import Scored
from clutter.report import table, write_report
from clutter.results import Entry, Measured, Point, Timing, point_of, save_entry, save_timing
from clutter.summary import rows_of, stairs

from nas.errors import UserError
from nas.teacher import Task

TAKEN = {"at": "2026-11-22 10:00", "processor": "a processor", "n_cores": "2", "onnxruntime": "1.31"}


def timing(files: dict[str, Measured]) -> Timing:
    return Timing(0.96, (1e-3,) * 3, (1.0, 1.01, 0.99), files, TAKEN)


def entry(seed: int, digest: str, cpu_s: float) -> Entry:
    return Entry("understudy", "digits", 60.0, seed, cpu_s, 70.0, (Point(digest, f"{digest}.onnx", digest, 2048),))


def test_rows_say_the_median_seed_and_the_union_in_the_same_passes() -> None:
    files = {
        "s0": Measured(0.96, (0.5, 0.4, 0.9)),
        "s1": Measured(0.96, (0.1, 0.1, 0.1)),
        "s2": Measured(0.945, (0.2, 0.2, 0.2)),
        "peer": Measured(0.96, (0.25, 0.25, 0.25)),
    }
    entries = [entry(0, "s0", 58.0), entry(1, "s1", 61.0), entry(2, "s2", 63.0)]
    (row,) = rows_of(entries, {60.0: timing(files)}, [Point("peer", "peer.onnx", "peer", 1)])
    assert row.shares[3] == pytest.approx((0.5, 0.9, 0.4))
    assert row.median(3) == pytest.approx(0.5)
    assert row.median(5) == pytest.approx(0.56)
    assert row.union == {3: pytest.approx(0.75), 5: pytest.approx(0.75)}
    assert (row.cpu_s, row.n_seeds) == (61.0, 3)


def test_a_run_that_was_not_timed_is_no_row() -> None:
    assert rows_of([entry(0, "s0", 60.0)], {60.0: timing({})}, []) == []
    assert rows_of([entry(0, "s0", 60.0)], {}, []) == []


def test_stairs_are_what_nothing_beats() -> None:
    points = [Scored(0.5, 0.96), Scored(0.2, 0.95), Scored(0.3, 0.94), Scored(0.2, 0.94)]
    assert stairs(points) == [Scored(0.2, 0.95), Scored(0.5, 0.96)]


def test_the_report_is_made_from_json_alone(tmp_path: Path, no_task: Callable[[], Task]) -> None:
    campaign = Campaign("a-task", no_task, tmp_path, tmp_path, None, (_file(tmp_path, "peer"),))
    for budget_s, ratio in [(20.0, 0.5), (60.0, 0.1)]:
        point = _file(tmp_path, f"ours{budget_s:g}")
        save_entry(Entry("understudy", "a-task", budget_s, 0, budget_s, 70.0, (point,)), campaign.json_folder)
        files = {point.digest: Measured(0.95, (ratio,) * 3), campaign.union[0].digest: Measured(0.96, (0.2,) * 3)}
        save_timing(timing(files), campaign.json_folder, budget_s)
    text = write_report(campaign).read_text(encoding="utf-8")
    # 1 - .1 of the width times 2/3 of the height, and 4/5 of it; the union 1 - .2.
    assert "| **understudy** | 60 | 60 | 1 | 0.600 |  | 0.800 | -0.200 |" in text
    assert "| **understudy** | 60 | 60 | 1 | 0.720 |  | 0.800 | -0.080 |" in text
    assert "| **understudy** | 20 | 20 | 1 | 0.333 |  | 0.800 | -0.467 |" in text
    assert "| understudy, seed 0 | ours60 | 95.00 |  | 10.0 | 10.0 to 10.0 | 0 |" in text
    assert (tmp_path / "hypervolume.png").stat().st_size > 10_000
    assert (tmp_path / "fronts.png").stat().st_size > 10_000


def test_nothing_to_report_is_said(tmp_path: Path, no_task: Callable[[], Task]) -> None:
    with pytest.raises(UserError, match="no timed runs"):
        write_report(Campaign("a-task", no_task, tmp_path, tmp_path))


def test_short_rows_of_a_table_are_filled_up() -> None:
    assert table(["a", "b"], [["1"]]) == "| a | b |\n| --- | --- |\n| 1 |  |"


@pytest.fixture
def no_task() -> Callable[[], Task]:
    def load() -> Task:
        raise AssertionError("a report needs no task")

    return load


def _file(folder: Path, name: str) -> Point:
    path = folder / f"{name}.onnx"
    path.write_bytes(name.encode())
    return point_of(name, path)
