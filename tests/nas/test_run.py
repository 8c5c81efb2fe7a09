"""One search of the tiny task from end to end, and what it leaves for its user."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from torch import nn

import nas
from latency_models.artifact import Artifact
from nas.cli import main
from nas.data import as_data
from nas.errors import UserError
from nas.export import run_artifact
from nas.ledger import open_ledger
from nas.record import Record
from nas.run import Run
from nas.teacher import top1_accuracy
from tests.nas import tiny
from tests.nas.conftest import DATA, SPEC, TIME_BUDGET_S

COLUMNS_ASKED_FOR = [
    "id", "target", "accuracy", "teacher_accuracy", "latency_s", "latency_low_s", "latency_high_s", "latency_ratio",
    "n_parameters", "size_bytes", "artifact", "recipe",
]  # fmt: skip


def float32_member(run: Run) -> Record:
    return next(record for record in run.front.members if record.recipe.get("precision") != "int8")


def test_the_run_is_finished_and_its_files_are_there(tiny_run: Run) -> None:
    assert tiny_run.finished
    names = {path.name for path in tiny_run.folder.iterdir()}
    wanted = {"front.csv", "records.parquet", "front.html", "front.png", "cards", "ledger.sqlite", "study.journal"}
    assert wanted | {"settings.yaml", "owner.json", "artifacts", "students", "weights"} <= names
    assert (tiny_run.folder / "front.png").read_bytes().startswith(b"\x89PNG")
    page = (tiny_run.folder / "front.html").read_text()
    assert "Plotly" in page
    assert not re.search(r'<(script|link)[^>]*(src|href)="http', page)  # self-contained


def test_the_time_budget_is_kept(tiny_run: Run) -> None:
    with open_ledger(tiny_run.folder, create=False) as ledger:
        assert 0.5 * TIME_BUDGET_S < ledger.elapsed_s() <= 1.1 * TIME_BUDGET_S + 1.0


def test_the_table_has_the_columns_asked_for_and_the_teacher(tiny_run: Run) -> None:
    table = pd.read_csv(tiny_run.folder / "front.csv")
    assert [column for column in table.columns if column in COLUMNS_ASKED_FOR] == COLUMNS_ASKED_FOR
    assert len(table) == len(tiny_run.front.members) + 1 >= 2
    teacher = table[table["id"] == "teacher"].iloc[0]
    assert teacher["accuracy"] == teacher["teacher_accuracy"]
    assert teacher["latency_ratio"] == pytest.approx(1.0, abs=0.15)
    assert (table["teacher_accuracy"] == teacher["accuracy"]).all()
    assert (table["latency_low_s"] <= table["latency_s"]).all()
    assert (table["latency_s"] <= table["latency_high_s"]).all()
    assert table["latency_ratio"].is_monotonic_increasing
    assert (table["target"] == "cpu-1t").all()
    for row in table.to_dict("records"):
        assert (tiny_run.folder / row["artifact"]).stat().st_size == row["size_bytes"]
        assert isinstance(json.loads(row["recipe"]), dict)


def test_all_records_are_in_the_parquet_file(tiny_run: Run) -> None:
    table = pd.read_parquet(tiny_run.folder / "records.parquet")
    assert table["id"].tolist() == [record.id for record in tiny_run.records]
    assert len(table) > 10
    measured = table[table["failure"].isna()]
    assert all(len(np.concatenate(samples)) > 0 for samples in measured["candidate_samples_s"])


def test_training_and_both_precisions_were_tried_and_nothing_twice(tiny_run: Run) -> None:
    assert {record.rung for record in tiny_run.records} >= {0, 1}
    assert any(record.recipe.get("precision") == "int8" for record in tiny_run.records)
    assert max(Counter(record.id for record in tiny_run.records).values()) == 1
    assert any("planned" in record.note for record in tiny_run.records)


def test_every_artifact_is_the_file_that_was_scored(tiny_run: Run) -> None:
    for record in tiny_run.records:
        if record.ok:
            file = Artifact.from_file(tiny_run.folder / record.artifact, "float32")
            assert (file.digest, file.size_bytes) == (record.artifact_digest, record.size_bytes)


def test_test_scores_are_those_of_the_artifact_and_only_the_front_has_them(tiny_run: Run) -> None:
    images, labels = tiny.make_data()[2]
    for record in (*tiny_run.front.members, tiny_run.teacher):
        artifact = Artifact.from_file(tiny_run.folder / record.artifact, "float32")
        expected = top1_accuracy(run_artifact(artifact, (images,)), labels.numpy())
        assert record.test_accuracy == pytest.approx(expected, abs=0.006)
    tested = [record for record in tiny_run.records if record.test_accuracy is not None]
    assert len(tested) <= 15 < len(tiny_run.records)
    for record in tested:
        assert record.latency is not None
        assert len(record.latency.visits) >= 4


def test_a_card_for_each_member(tiny_run: Run) -> None:
    for record in tiny_run.front.members:
        card = (tiny_run.folder / "cards" / f"{record.id}.md").read_text()
        assert record.artifact_digest in card


def test_the_study_opens_in_optuna(tiny_run: Run) -> None:
    storage = JournalStorage(JournalFileBackend(str(tiny_run.folder / "study.journal")))
    study = optuna.load_study(study_name="understudy", storage=storage)
    ids = {record.id for record in tiny_run.records}
    done = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE]
    assert len(done) >= 4
    assert {trial.user_attrs["record"] for trial in done} <= ids


def test_the_choice_keeps_to_both_budgets(tiny_run: Run) -> None:
    choice = tiny_run.choice()
    assert choice.latency is not None
    assert choice.latency.ratio_high <= 0.8
    assert tiny_run.front.drop_of(choice) <= 0.1 + 1e-9
    assert tiny_run.front.pick("fastest") == tiny_run.front.members[0]


def test_the_exported_onnx_is_the_very_file(tiny_run: Run, tmp_path: Path) -> None:
    choice = tiny_run.choice()
    path = tiny_run.export(choice, tmp_path / "student.onnx")
    assert Artifact.from_file(path, "float32").digest == choice.artifact_digest


def test_the_exported_weights_rebuild_the_scored_module(tiny_run: Run, tmp_path: Path) -> None:
    record = float32_member(tiny_run)
    path = tiny_run.export(record, tmp_path / "student.safetensors")
    student = nas.load_student(path, tiny.build())
    images, _ = tiny.make_data()[2]
    artifact = Artifact.from_file(tiny_run.folder / record.artifact, "float32")
    with torch.no_grad():
        assert np.abs(student.module(images).numpy() - run_artifact(artifact, (images,))).max() < 1e-3


def test_the_exported_pt2_agrees(tiny_run: Run, tmp_path: Path) -> None:
    record = float32_member(tiny_run)
    program = torch.export.load(tiny_run.export(record, tmp_path / "student.pt2")).module()
    images, _ = tiny.make_data()[2]
    artifact = Artifact.from_file(tiny_run.folder / record.artifact, "float32")
    with torch.no_grad():
        assert np.abs(program(images[:9]).numpy() - run_artifact(artifact, (images[:9],))).max() < 1e-3


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("student.tflite", "`tflite` is not a format"),
        ("student", "`` is not a format"),
        ("missing/student.onnx", "does not exist"),
        (".", "cannot be written"),
    ],
)
def test_exports_that_are_refused(tiny_run: Run, tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        tiny_run.export(float32_member(tiny_run), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_weights_is_refused(tiny_run: Run, tmp_path: Path) -> None:
    unconfirmed = next(r for r in tiny_run.records if r.ok and r.test_accuracy is None)
    with pytest.raises(UserError, match="was not confirmed"):
        tiny_run.export(unconfirmed, tmp_path / "s.safetensors")
    with pytest.raises(UserError, match="teacher cannot be exported"):
        tiny_run.export(tiny_run.teacher, tmp_path / "s.pt2")


def test_the_command_line_shows_and_exports(tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tiny_run.folder)
    assert main(["front", folder]) == 0
    shown = capsys.readouterr().out
    assert "teacher" in shown
    assert "not finished" not in shown
    out = tmp_path / "student.onnx"
    assert main(["export", folder, "--pick", "fastest", "--max-accuracy-drop", "90%", "--out", str(out)]) == 0
    assert Artifact.from_file(out, "float32").digest == tiny_run.front.members[0].artifact_digest
    member = tiny_run.front.members[-1]
    assert main(["export", folder, "--pick", member.id[:10], "--out", str(out)]) in (0, 2)  # 2: not unique
    assert main(["export", folder, "--pick", member.id, "--out", str(out)]) == 0
    assert Artifact.from_file(out, "float32").digest == member.artifact_digest
    capsys.readouterr()
    assert main(["export", folder, "--latency-budget", "0.01%", "--out", str(out)]) == 1
    assert "nearest miss" in capsys.readouterr().err
    assert main(["export", folder, "--pick", "nobody", "--out", str(out)]) == 2
    assert main(["export", folder, "--latency-budget", "soon", "--out", str(out)]) == 2


def test_a_run_that_has_moved_still_exports_and_one_that_was_tampered_with_does_not(
    tiny_run: Run, tmp_path: Path
) -> None:
    import shutil

    moved = Run.open(shutil.copytree(tiny_run.folder, tmp_path / "moved"))
    choice = moved.choice()
    moved.export(choice, tmp_path / "a.onnx")
    path = moved.folder / choice.artifact
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="no longer the file that was timed and scored"):
        moved.export(choice, tmp_path / "b.onnx")
    assert not (tmp_path / "b.onnx").exists()


def test_a_finished_run_that_is_resumed_does_nothing_twice(tiny_run: Run, tmp_path: Path) -> None:
    import shutil

    copy = Run.open(shutil.copytree(tiny_run.folder, tmp_path / "copy"))
    resumed = nas.resume(copy.folder, style="silent")
    assert resumed.records == tiny_run.records
    assert resumed.finished


def test_a_run_from_python_with_a_budget_out_of_reach(
    tiny_teacher: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without labels, one kind of change, float32 only: the smallest search there is."""
    sets = tuple((images,) for images, _ in tiny.make_data())
    run = nas.search(
        tiny_teacher, sets, latency_budget="1us", time_budget="cpu:6s", training_threads=1, n_calibration=64,
        precision=("float32",), transforms=("channels",), out=tmp_path / "run", style="silent",
    )  # fmt: skip
    assert (run.folder / "front.csv").is_file()
    assert run.front.metric == "agreement"
    assert run.front.accuracy_of(run.teacher) == 1.0
    with pytest.raises(UserError, match="nearest miss") as caught:
        run.choice()
    assert caught.value.exit_status == 1
    assert all(name.startswith("channels:") for record in run.records for name in record.recipe)
    with pytest.raises(UserError, match="given from Python"):
        nas.resume(run.folder, style="silent")
    other = tiny.build().eval()
    with pytest.raises(UserError, match="not those this run began with"):
        nas.resume(run.folder, other, sets, style="silent")
    assert len(as_data(sets).train) == 600
    assert nas.resume(run.folder, tiny_teacher, sets, style="silent").records == run.records
    capsys.readouterr()
    assert main(["resume", str(run.folder)]) == 2
    assert "given from Python" in capsys.readouterr().err


def test_a_budget_out_of_reach_on_the_command_line(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    arguments = [
        "search", SPEC, "--data", DATA, "--weights", str(tiny_weights), "--latency-budget", "0.01%",
        "--time-budget", "cpu:12s", "--training-threads", "1", "--n-calibration", "64", "--out", str(run), "--quiet",
    ]  # fmt: skip
    status = main(arguments)
    said = capsys.readouterr()
    assert status == 1
    assert "No student of the front has a latency of at most 0.0 % of the teacher's" in said.err
    assert "The nearest miss is " in said.err
    assert "teacher" in said.out
    assert len(pd.read_csv(run / "front.csv")) >= 2
    assert not (run / "student.onnx").exists()
    # The nearest miss is worth having: something was trained though nothing reaches the budget.
    assert any(record.rung > 0 for record in Run.open(run).records)


def test_values_of_one_column_without_labels(tiny_teacher: nn.Module, tmp_path: Path) -> None:
    """Not a classifier: what choices lose must not vanish in a softmax over one column."""
    teacher = nn.Sequential(tiny_teacher, nn.Linear(10, 1)).eval()
    sets = tuple((images,) for images, _ in tiny.make_data())
    run = nas.search(
        teacher, sets, latency_budget="70%", time_budget="cpu:12s", training_threads=1, n_calibration=64,
        out=tmp_path / "run", style="silent",
    )  # fmt: skip
    with open_ledger(run.folder, create=False) as ledger:
        losses = [ledger.get_fact(f"loss:{site.name}:{site.choices[-1]}") for site in run.sites.values()]
    assert max(loss for loss in losses if loss is not None) > 0.01
    assert run.front.metric == "agreement"
    assert all(0 <= (record.accuracy or 0.0) <= 1 for record in run.records)
    assert not run.front.failed
