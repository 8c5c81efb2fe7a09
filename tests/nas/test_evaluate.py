"""Recipe to record: what is known is not worked out again, and what fails is a record."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import nas.accuracy as accuracy
import nas.evaluate as module
from latency_models.artifact import Artifact
from nas.confirm import confirm, student_of
from nas.errors import UserError
from nas.evaluate import architecture_of, artifact_of, evaluate, in_precision, precisions
from nas.workbench import Workbench, teacher_artifact
from search_spaces.recipe import Recipe, Site
from search_spaces.space import SearchSpace
from search_spaces.transform import Student


def a_recipe(bench: Workbench, position: int = 0) -> Recipe:
    site: Site = [site for site in bench.space.sites.values() if site.kind == "channels"][position]
    return Recipe().replace(site, site.choices[2])


def test_a_record_has_everything_and_its_file(tiny_bench: Workbench) -> None:
    recipe = a_recipe(tiny_bench)
    record = evaluate(tiny_bench, recipe, note="planned")
    assert record.ok
    assert record.failure is None
    assert record.note == "planned"
    assert record.latency is not None
    assert record.latency.source == "measured"
    teacher = tiny_bench.ledger.get(Recipe(), 0)
    assert teacher is not None
    assert 0 < record.n_parameters < teacher.n_parameters
    assert 0 < record.n_macs < teacher.n_macs
    file = Artifact.from_file(tiny_bench.run / record.artifact, "float32")
    assert (record.artifact_digest, record.size_bytes) == (file.digest, file.size_bytes)
    assert artifact_of(tiny_bench, record) == file
    assert float(record.environment["parity"]) < 1e-4
    assert tiny_bench.ledger.get(recipe, 0) == record


def test_what_the_ledger_knows_is_not_worked_out_again(tiny_bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluate(tiny_bench, a_recipe(tiny_bench))

    def never(*_: object) -> None:
        raise AssertionError("worked twice")

    monkeypatch.setattr(module, "_scored", never)
    monkeypatch.setattr(type(tiny_bench.space), "build", never)
    assert evaluate(tiny_bench, a_recipe(tiny_bench)) == first


@pytest.mark.parametrize("error", [RuntimeError("no kernel"), ValueError(""), ZeroDivisionError("0"), IndexError("7")])
def test_a_candidate_that_fails_is_a_record_and_the_next_one_is_scored(
    tiny_bench: Workbench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    export = module.export_artifact

    def fails(student: Student, example: object, calibration: object, path: Path, *rest: object) -> Artifact:
        path.write_bytes(b"half a file")
        raise error

    monkeypatch.setattr(module, "export_artifact", fails)
    recipe = a_recipe(tiny_bench)
    record = evaluate(tiny_bench, recipe)
    assert record.failure == f"{type(error).__name__}: {error}" or record.failure == "ValueError: no message"
    assert (record.accuracy, record.latency, record.artifact) == (None, None, "")
    assert not record.ok
    assert tiny_bench.ledger.get(recipe, 0) == record
    assert not tiny_bench.artifact_path(recipe, 0).exists()
    monkeypatch.setattr(module, "export_artifact", export)
    assert evaluate(tiny_bench, recipe) == record  # a failure is not tried again
    assert evaluate(tiny_bench, a_recipe(tiny_bench, 1)).ok


def test_a_student_that_answers_nan_fails(tiny_bench: Workbench) -> None:
    student = tiny_bench.space.build(a_recipe(tiny_bench))
    with torch.no_grad():
        student.module.head.bias.fill_(torch.nan)  # type: ignore[union-attr, operator]
    record = evaluate(tiny_bench, a_recipe(tiny_bench), student=student)
    assert record.failure is not None
    assert "NaN" in record.failure
    assert record.accuracy is None


def test_a_fault_of_ours_is_not_hidden(tiny_bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise AssertionError("a fault")

    monkeypatch.setattr(module, "export_artifact", fault)
    with pytest.raises(AssertionError):
        evaluate(tiny_bench, a_recipe(tiny_bench))


def test_weights_that_are_given_are_the_ones_scored(tiny_bench: Workbench) -> None:
    recipe = a_recipe(tiny_bench)
    student = tiny_bench.space.build(recipe)
    with torch.no_grad():
        student.module.head.weight.zero_()  # type: ignore[union-attr, operator]
        student.module.head.bias.copy_(torch.eye(10)[3])  # type: ignore[union-attr, operator]
    record = evaluate(tiny_bench, recipe, 1, student, 12.5)
    labels = tiny_bench.validation.reference
    assert record.accuracy == pytest.approx(float((labels == 3).mean()))
    assert (record.rung, record.train_s) == (1, 12.5)


def test_a_higher_rung_keeps_the_visits_of_the_one_below(tiny_bench: Workbench) -> None:
    recipe = a_recipe(tiny_bench)
    below = evaluate(tiny_bench, recipe)
    above = evaluate(tiny_bench, recipe, 1, tiny_bench.space.build(recipe))
    assert below.latency is not None
    assert above.latency is not None
    assert above.latency.visits[:1] == below.latency.visits
    assert len(above.latency.visits) == 2


def test_a_candidate_that_is_clearly_beaten_is_scored_on_a_part(
    tiny_bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy, "LOOKS", (50,))
    good = evaluate(tiny_bench, a_recipe(tiny_bench))
    assert good.latency is not None
    assert good.environment["n_validation"] == "200"
    faster = replace(good, latency=replace(good.latency, ratio_high=1e-6))
    tiny_bench.ledger.put(faster)
    recipe = a_recipe(tiny_bench, 1)
    student = tiny_bench.space.build(recipe)
    with torch.no_grad():
        student.module.head.weight.zero_()  # type: ignore[union-attr, operator]
    record = evaluate(tiny_bench, recipe, student=student)
    assert record.environment["n_validation"] == "50"
    assert record.accuracy is not None
    assert record.accuracy < 0.3
    of_another_rung = evaluate(tiny_bench, recipe, 1, student)
    assert of_another_rung.environment["n_validation"] == "200"


def test_one_architecture_is_repaired_once_for_all_precisions(
    tiny_bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = a_recipe(tiny_bench)
    build, built = tiny_bench.space.build, list[Recipe]()

    def watched(space: SearchSpace, recipe: Recipe) -> Student:
        built.append(recipe)
        return build(recipe)

    monkeypatch.setattr(SearchSpace, "build", watched)
    records = [evaluate(tiny_bench, in_precision(tiny_bench, recipe, precision)) for precision in ("float32", "int8")]
    assert built == [recipe]
    assert [artifact_of(tiny_bench, record).precision for record in records] == ["float32", "int8"]
    assert records[0].n_parameters == records[1].n_parameters
    assert records[0].artifact_digest != records[1].artifact_digest


def test_precisions_of_an_architecture(tiny_bench: Workbench) -> None:
    recipe = a_recipe(tiny_bench)
    assert precisions(tiny_bench) == ("float32", "int8")
    int8 = in_precision(tiny_bench, recipe, "int8")
    assert int8["precision"] == "int8"
    assert architecture_of(int8) == recipe == in_precision(tiny_bench, recipe, "float32")


def test_a_file_that_has_changed_is_refused(tiny_bench: Workbench) -> None:
    record = evaluate(tiny_bench, a_recipe(tiny_bench))
    path = tiny_bench.run / record.artifact
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(ValueError, match="is not the file that was timed and scored"):
        artifact_of(tiny_bench, record)


def test_a_resumed_run_times_against_the_very_same_teacher(tiny_bench: Workbench) -> None:
    teacher = tiny_bench.ledger.get(Recipe(), 0)
    assert teacher is not None
    assert teacher_artifact(tiny_bench.run, tiny_bench.task, teacher).digest == teacher.artifact_digest
    path = tiny_bench.run / teacher.artifact
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(UserError, match="missing or has changed"):
        teacher_artifact(tiny_bench.run, tiny_bench.task, teacher)


def test_confirming_adds_visits_and_test_scores_and_nothing_else(tiny_bench: Workbench) -> None:
    recipe = a_recipe(tiny_bench)
    teacher, record = tiny_bench.ledger.get(Recipe(), 0), evaluate(tiny_bench, recipe)
    assert teacher is not None
    assert record.latency is not None
    confirm(tiny_bench, [record], teacher, lambda: 100)
    confirmed = tiny_bench.ledger.get(recipe, 0)
    assert confirmed is not None
    assert confirmed.latency is not None
    assert confirmed.latency.visits[:1] == record.latency.visits
    assert len(confirmed.latency.visits) == 4
    assert confirmed.test_accuracy is not None
    assert (confirmed.accuracy, confirmed.artifact_digest) == (record.accuracy, record.artifact_digest)
    tested = tiny_bench.ledger.get(Recipe(), 0)
    assert tested is not None
    assert tested.test_accuracy is not None
    assert (tiny_bench.run / "students" / f"{record.id}.safetensors").is_file()


def test_the_module_behind_a_record(tiny_bench: Workbench) -> None:
    record = evaluate(tiny_bench, a_recipe(tiny_bench))
    again: nn.Module = student_of(tiny_bench, record).module
    wanted = tiny_bench.space.build(record.recipe).module
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), wanted.parameters(), strict=True))
