"""`nas explain` on tiny ONNX files and on a run made of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nas.explain as explain_module
from latency_models import ceilings as ceilings_module
from latency_models.artifact import Artifact
from latency_models.ceilings import Ceilings, Level
from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from latency_models.target import Processor, Target
from nas.cli import main
from nas.config import Settings
from nas.errors import UserError
from nas.explain import Report, _named, default_target, explain, merged, spread, vector_step
from nas.explain_table import _times, lines
from nas.ledger import open_ledger
from nas.run import Run
from tests.nas.records import FAILED, MEMBERS, TEACHER

MACHINE = Ceilings(1, {"float32": 1e11, "int8": 4e11}, (Level("L1", 32768, 1e11), Level("memory", 0, 1e10)))


def network(path: Path, width: int) -> Artifact:
    """Two convolutions with `width` channels between them, (n, 16, 16, 16) to the same."""
    weights = {"a.conv1.weight": (width, 16, 3, 3), "a.conv2.weight": (16, width, 3, 3)}
    nodes = [
        helper.make_node("Conv", ["x", "a.conv1.weight"], ["t"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["t"], ["u"]),
        helper.make_node("Conv", ["u", "a.conv2.weight"], ["y"], pads=[1, 1, 1, 1]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 16, 16, 16]) for name in "xy")
    constants = [numpy_helper.from_array(np.full(shape, 0.01, np.float32), name) for name, shape in weights.items()]
    graph = helper.make_graph(nodes, "network", [x], [y], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return Artifact.from_file(path, "float32")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a teacher with 64 inner channels, a student with 17 and a failure."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "artifacts").mkdir()
    records = [
        replace(record, artifact=f"artifacts/{name}.onnx", artifact_digest=artifact.digest)
        for record, name, width in ((TEACHER, "teacher", 64), (MEMBERS[0], "student", 17))
        for artifact in [network(folder / "artifacts" / f"{name}.onnx", width)]
    ]
    with open_ledger(folder, create=True) as ledger:
        for record in (*records, FAILED):
            ledger.put(record)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ceilings_module, "measure_ceilings", lambda n_threads: MACHINE)
        yield tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def report(run: Path, cache: Path) -> Report:
    return explain(run, MEMBERS[0].id, Target(), cache, 1)


def test_a_student_of_a_run_is_timed_beside_its_teacher(report: Report) -> None:
    assert (report.student, report.teacher) == (MEMBERS[0].id, "teacher")
    assert report.latency.source == "measured"
    assert report.explanation.student.end_to_end_s == report.latency.median_s
    assert report.explanation.teacher.end_to_end_s == pytest.approx(report.latency.median_s / report.latency.ratio)
    pairs = {row.pair.name: row.pair for row in report.explanation.rows}
    inner = pairs["a.conv1"]
    assert inner.student is not None
    assert inner.teacher is not None
    assert (inner.student.n_out, inner.teacher.n_out) == (17, 64)
    assert report.explanation.summary.startswith("73 % of the operations went")
    assert report.ceilings == MACHINE


def test_it_reads_well_within_a_hundred_characters(report: Report) -> None:
    shown = lines(report, 140)
    assert max(map(len, shown)) <= 100
    text = "\n".join(shown)
    assert shown[0].startswith(f"{MEMBERS[0].id} on cpu-1t: ")
    assert "of teacher's" in text
    for column in ("kernel", "channels", "share", "GFLOP/s", "GB/s", "of roof"):
        assert column in text
    assert "16→17" in text
    assert "(between kernels)" in text
    assert "100 GFLOP/s in float32" in text


def test_at_eighty_characters_rates_are_left_out_and_nothing_is_cut(report: Report) -> None:
    shown = lines(report, 80)
    assert max(map(len, shown)) <= 80
    table = shown[next(n for n, line in enumerate(shown) if line.startswith("kernel ")) :]
    assert table[0].split() == ["kernel", "operator", "channels", "µs", "share", "teacher", "ratio", "of", "roof"]
    assert not any("…" in line for line in table)
    assert "A terminal of 98 columns also shows" in shown[-1]


def doubted(report: Report, student_s: float, teacher_s: float, spread: float = 0.0) -> str:
    """The report's text where the two latencies are other shares of their kernels."""
    explanation = report.explanation
    changed = replace(
        explanation,
        student=replace(explanation.student, end_to_end_s=explanation.student.kernels_s * student_s),
        teacher=replace(explanation.teacher, end_to_end_s=explanation.teacher.kernels_s * teacher_s),
    )
    return "\n".join(lines(replace(report, explanation=changed, spread=spread)))


def test_kernels_that_add_up_to_more_are_said_of_both_networks(report: Report) -> None:
    text = doubted(report, 1.1, 0.8)
    assert "The kernels add up to more than the inference (teacher: 25 %), and shares are of their sum." in text
    assert "run it again on a quiet" in " ".join(text.split())
    (gap,) = [line for line in text.splitlines() if line.startswith("(between kernels)")]
    assert gap.split()[-2:] == ["—", "—"]
    assert "(student: 100 %)" in doubted(report, 0.5, 1.1)
    assert "add up to more" not in doubted(report, 1.1, 1.1)


def test_to_a_time_that_shows_as_nothing_there_is_no_ratio() -> None:
    assert _times(2e-6, 4e-6, 0.5) == ("2.0", "50 %", "4.0", "0.50")
    assert _times(2e-17, 4e-17, 1e-12) == ("0.0", "0 %", "0.0", "—")


def test_rounds_that_differ_are_said(report: Report) -> None:
    assert "differ by 40 % from round to round" in doubted(report, 1.1, 1.1, 0.4)
    assert "round to round" not in doubted(report, 1.1, 1.1, 0.1)
    rounds = [[KernelTime("a", "Conv", seconds), KernelTime("b", "Conv", 1.0)] for seconds in (1.0, 3.0, 2.0)]
    assert spread(rounds) == pytest.approx(2 / 3)


def test_where_no_ceiling_is_known_there_is_no_column_for_it(report: Report) -> None:
    rows = tuple(replace(row, roofline=None, bound="") for row in report.explanation.rows)
    text = "\n".join(lines(replace(report, explanation=replace(report.explanation, rows=rows))))
    assert "roof" not in text


def test_the_target_is_the_runs_first_that_can_run_the_student(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_target(run / "artifacts" / "teacher.onnx", "x").label == "cpu-1t"
    settings = Settings(task_or_teacher="digits", latency_budget="40%", target=("tvm-cpu", "cpu"))
    monkeypatch.setattr(Run, "settings", settings)
    assert default_target(run, MEMBERS[0].id).name == "tvm-cpu"
    monkeypatch.setattr(explain_module, "refusal", lambda target, precision: "no" if target.runtime == "tvm" else None)
    assert default_target(run, MEMBERS[0].id).name == "cpu"
    with pytest.raises(UserError, match="no student nonsense"):
        default_target(run, "nonsense")


def test_the_start_of_an_id_is_enough(run: Path) -> None:
    assert _named(run, MEMBERS[0].id[:5])[2] == MEMBERS[0].id


def test_two_files_are_enough(run: Path, cache: Path) -> None:
    student, teacher = run / "artifacts" / "student.onnx", run / "artifacts" / "teacher.onnx"
    found = explain(student, str(teacher), Target(), cache, 1)  # teacher.onnx is the teacher's, whichever comes first
    assert (found.student, found.teacher) == ("student.onnx", "teacher.onnx")
    flops = found.explanation.student.n_flops / found.explanation.teacher.n_flops
    assert 0.26 < flops < 0.28


def test_unknown_ids_are_refused(run: Path) -> None:
    with pytest.raises(UserError, match=r"no student nonsense\. Some of its students"):
        explain(run, "nonsense", Target())
    with pytest.raises(UserError, match="has no artifact: export: outputs differ"):
        explain(run, FAILED.id, Target())


def test_a_changed_artifact_is_refused(run: Path, tmp_path: Path) -> None:
    path = run / "artifacts" / "student.onnx"
    content = path.read_bytes()
    try:
        network(path, 18)
        with pytest.raises(UserError, match="no longer the file"):
            explain(run, MEMBERS[0].id, Target())
    finally:
        path.write_bytes(content)


def test_places_that_are_no_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        explain(tmp_path, "teacher", Target())
    with pytest.raises(UserError, match="There is no run and no file"):
        explain(tmp_path / "none", "teacher", Target())


def test_a_precision_the_target_cannot_do_is_refused(run: Path) -> None:
    with pytest.raises(LatencyError, match="float32"):
        explain(run, MEMBERS[0].id, Target(precisions=("int8",)))


def test_the_median_over_rounds_counts() -> None:
    rounds = [[KernelTime("a", "Conv", seconds)] for seconds in (1.0, 9.0, 2.0)]
    assert merged(rounds) == (KernelTime("a", "Conv", 2.0),)


def test_the_vector_step_is_the_targets() -> None:
    assert vector_step(Target(processor=Processor(vector_bits=128))) == 4
    assert vector_step(Target(device="cuda")) == 0
    assert vector_step(Target()) in (4, 8, 16)


def test_every_target_of_a_call_is_explained(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(place: Path, which: str, target: Target, fresh: bool) -> str:
        return f"{place.name} {which} {target.label} {fresh}"

    monkeypatch.setattr(explain_module, "explain", told)
    assert main(["explain", str(run), "ab", "--target", "tvm-cpu", "--target", "cpu", "--fresh"]) == 0
    lines_out = [line for line in capsys.readouterr().out.splitlines() if line]
    assert lines_out == [f"{run.name} ab tvm-cpu-1t True", f"{run.name} ab cpu-1t True"]
