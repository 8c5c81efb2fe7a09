"""`nas bench` on tiny ONNX files."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from latency_models.artifact import Artifact
from latency_models.errors import LatencyError
from latency_models.latency import Latency, Visit
from latency_models.target import Target
from nas.bench import N_VISITS, Benchmark, Line, bench
from nas.bench_table import short_names
from nas.cli import main
from nas.errors import UserError
from tests.latency_models.contract import two_input_network

INT8_ONLY = Target(name="int8-only", precisions=("int8",))


def text(found: object) -> str:
    console = Console(width=120, no_color=True)
    with console.capture() as captured:
        console.print(found)
    return captured.get()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench")
    two_input_network(path / "student.onnx", (0.0, 0.0))
    two_input_network(path / "teacher.onnx")
    return path


@pytest.fixture(scope="module")
def first(folder: Path) -> Benchmark:
    files = [folder / "student.onnx", folder / "teacher.onnx"]
    return bench(files, [Target(), INT8_ONLY], cache=folder / "cache" / "visits.sqlite")


def test_teacher_onnx_is_the_anchor(first: Benchmark, folder: Path) -> None:
    assert first.anchor == folder / "teacher.onnx"
    assert [(line.artifact.path.name, line.target.name) for line in first.lines] == [
        ("student.onnx", "cpu"), ("teacher.onnx", "cpu"),
        ("student.onnx", "int8-only"), ("teacher.onnx", "int8-only"),
    ]  # fmt: skip


def test_every_file_is_visited_several_times(first: Benchmark) -> None:
    for line in first.lines[:2]:
        assert line.latency is not None
        assert len(line.latency.visits) == N_VISITS
        assert (line.n_kept, line.refusal) == (0, "")
        assert line.latency.source == "measured"
    anchors = {
        round(line.latency.median_s / line.latency.ratio, 12) for line in first.lines[:2] if line.latency is not None
    }
    assert len(anchors) == 1


def test_a_target_that_refuses_says_why(first: Benchmark) -> None:
    for line in first.lines[2:]:
        assert line.latency is None
        assert "teacher.onnx, the anchor, cannot be timed there" in line.refusal
    shown = text(first)
    assert "— [1]" in shown
    assert "[1] teacher.onnx, the anchor, cannot be timed there: " in shown


def test_what_was_measured_is_not_measured_again(first: Benchmark, folder: Path) -> None:
    files, cache = [folder / "student.onnx", folder / "teacher.onnx"], folder / "cache" / "visits.sqlite"
    again = bench(files, [Target()], cache=cache)
    assert [line.latency and line.latency.visits for line in again.lines] == [
        line.latency and line.latency.visits for line in first.lines[:2]
    ]
    assert [line.n_kept for line in again.lines] == [N_VISITS] * 2
    assert "2 of 2 lines rest on visits kept from an earlier call" in " ".join(text(again).split())
    fresh = bench(files[1:], [Target()], fresh=True, cache=cache)
    assert fresh.lines[0].n_kept == 0
    assert fresh.lines[0].latency is not None
    assert fresh.lines[0].latency.visits != again.lines[1].latency.visits  # type: ignore[union-attr]


def test_a_file_that_cannot_run_leaves_the_others_their_lines(folder: Path, tmp_path: Path) -> None:
    two_input_network(tmp_path / "nan.onnx", (0.0, float("nan")))
    shutil.copy(folder / "teacher.onnx", tmp_path / "teacher.onnx")
    files = [tmp_path / "teacher.onnx", tmp_path / "nan.onnx"]
    teacher, broken = bench(files, [Target()], cache=tmp_path / "visits.sqlite").lines
    assert teacher.latency is not None
    assert broken.latency is None
    assert "NaN" in broken.refusal


def test_the_first_file_is_the_anchor_where_none_is_the_teachers(folder: Path, tmp_path: Path) -> None:
    for name in ("b.onnx", "a.onnx"):
        shutil.copy(folder / "teacher.onnx", tmp_path / name)
    found = bench([tmp_path / "b.onnx", tmp_path / "a.onnx"], [INT8_ONLY], cache=tmp_path / "visits.sqlite")
    assert found.anchor == tmp_path / "b.onnx"


def test_bad_input_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to time"):
        bench([], [Target()])
    with pytest.raises(UserError, match="named twice"):
        bench([folder / "student.onnx"] * 2, [Target()], cache=tmp_path / "c")
    with pytest.raises(UserError, match="There is no file"):
        bench([folder / "none.onnx"], [Target()], cache=tmp_path / "c")


def test_a_damaged_cache_is_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "visits.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(LatencyError, match="latency cache"):
        bench([folder / "teacher.onnx"], [Target()], cache=tmp_path / "visits.sqlite")


def test_percentiles_are_of_all_samples(folder: Path) -> None:
    visits = (Visit((1.0, 2.0), (1.0, 1.0)), Visit((3.0,), (1.0,)))
    latency = Latency(2.0, 1.0, 3.0, 2.0, 1.0, 3.0, "measured", "cpu-1t", visits)
    line = Line(Artifact.from_file(folder / "teacher.onnx", "float32"), Target(), latency)
    assert (line.percentile_s(0.5), line.percentile_s(1.0)) == (2.0, 3.0)
    assert replace(line, latency=None).percentile_s(0.5) is None


def test_an_estimate_is_marked(folder: Path) -> None:
    latency = Latency(2e-3, 1e-3, 3e-3, 0.5, 0.4, 0.6, "predicted", "estimate-1t", known_error=0.09)
    artifact = Artifact.from_file(folder / "teacher.onnx", "float32")
    shown = text(Benchmark(Path("other.onnx"), (Line(artifact, Target(name="estimate"), latency),)))
    assert "~2.00" in shown
    assert "~0.500" in shown
    assert "~ estimate-1t is an estimate: median error 9 %" in shown


def test_the_table_fits_a_hundred_characters(first: Benchmark) -> None:
    assert max(map(len, text(first).splitlines())) <= 100


def test_files_of_one_name_are_told_apart_by_their_folders() -> None:
    names = short_names([Path("/runs/one/student.onnx"), Path("/runs/two/student.onnx")])
    assert list(names.values()) == ["one/student.onnx", "two/student.onnx"]
    assert short_names([Path("/a/student.onnx")]) == {Path("/a/student.onnx"): "student.onnx"}
    (cut,) = short_names([Path("a-name-of-far-too-many-characters.onnx")]).values()
    assert cut == "…too-many-characters.onnx"


def test_percentiles_are_at_the_pace_of_the_median(folder: Path) -> None:
    slow, fast = Visit((2.0, 2.0, 4.0), (4.0, 4.0, 4.0)), Visit((1.0, 1.0, 2.0), (2.0, 2.0, 2.0))
    latency = Latency(2.0, 1.0, 3.0, 0.5, 0.4, 0.6, "measured", "cpu-1t", (slow, fast))
    line = Line(Artifact.from_file(folder / "teacher.onnx", "float32"), Target(), latency)
    assert (line.percentile_s(0.5), line.percentile_s(1.0)) == (2.0, 4.0)


def test_a_target_named_twice_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cpu-1t is named twice"):
        bench([folder / "student.onnx"], [Target(), Target()], cache=tmp_path / "c")


def test_a_folder_is_said_to_be_one(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder\. Name ONNX files"):
        bench([folder], [Target()], cache=tmp_path / "c")


def test_where_nothing_could_be_timed_there_are_reasons_only(folder: Path, tmp_path: Path) -> None:
    found = bench([folder / "teacher.onnx"], [INT8_ONLY], cache=tmp_path / "c")
    assert not found.found
    assert "ratio:" not in text(found)


def test_an_estimated_anchor_is_once_itself(folder: Path) -> None:
    latency = Latency(2e-3, 1e-3, 3e-3, 1.0, 0.9, 1.1, "predicted", "estimate-1t", known_error=0.09)
    artifact = Artifact.from_file(folder / "teacher.onnx", "float32")
    found = Benchmark(artifact.path, (Line(artifact, Target(name="estimate"), latency),))
    shown = text(found)
    assert "0.900" not in shown
    assert shown.splitlines()[2].split()[-2:] == ["1", "—"]
    assert "in turn" not in shown
    assert found.found


def test_a_students_line_fits_eighty_characters(folder: Path) -> None:
    artifact = replace(Artifact.from_file(folder / "teacher.onnx", "float32"), path=Path("0123456789ab-r0.onnx"))
    latency = Latency(1e-4, 1e-4, 1e-4, 1.0, 1.0, 1.0, "predicted", "estimate:cortex-a72-1t", known_error=0.16)
    console = Console(width=80, no_color=True)
    with console.capture() as captured:
        console.print(Benchmark(Path("other.onnx"), (Line(artifact, Target(name="estimate:cortex-a72"), latency),)))
    _, heading, line, *_ = captured.get().splitlines()
    assert heading.strip() == "estimate:cortex-a72-1t"
    assert line.startswith("0123456789ab-r0.onnx ")
    assert line.rstrip().endswith("~1.000 1.000-1.000")


def test_a_call_that_could_time_nothing_ends_with_status_2(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["bench", str(folder / "teacher.onnx"), "--target", "estimate:cortex-a53"]) == 2
    shown = " ".join(capsys.readouterr().out.split())
    assert "known to be wrong, so its latency cannot be estimated. " in shown
    assert "Measure on a board" in shown
