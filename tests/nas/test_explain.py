"""`nas explain` on tiny ONNX files and on a run made of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latency_models import ceilings as ceilings_module
from latency_models.artifact import Artifact
from latency_models.ceilings import Ceilings, Level
from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from latency_models.target import Processor, Target
from nas.errors import UserError
from nas.explain import Report, _named, explain, merged, vector_step
from nas.explain_table import lines
from nas.ledger import open_ledger
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


def test_the_start_of_an_id_is_enough(run: Path) -> None:
    assert _named(run, MEMBERS[0].id[:5])[2] == MEMBERS[0].id


def test_two_files_are_enough(run: Path, cache: Path) -> None:
    student, teacher = run / "artifacts" / "student.onnx", run / "artifacts" / "teacher.onnx"
    found = explain(student, str(teacher), Target(), cache, 1)  # teacher.onnx is the teacher's, whichever comes first
    assert (found.student, found.teacher) == (str(student), str(teacher))
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
