import json
from dataclasses import replace
from pathlib import Path

import pytest

from nas.card import write_card
from tests.nas.records import FAILED, MEMBERS, SITES, TEACHER, make_latency
from tests.nas.several import BOARD, HALF_NARROW, NO_FLOAT16, SEVERAL_TEACHER, TARGETS, TVM

FACTS = {"SHA-256 of the teacher's weights": "cd" * 32, "teacher": "a|b <script>"}


def test_card_says_where_the_student_comes_from_and_how_good_it_is(tmp_path: Path) -> None:
    record = MEMBERS[4]
    path = write_card(record, TEACHER, SITES, tmp_path, FACTS)
    assert path == tmp_path / f"{record.id}.md"
    text = path.read_text(encoding="utf-8")
    for line in (
        f"# Student {record.id}",
        "- blocks.4.conv1 128 → 64 channels",
        record.recipe.to_json(),
        "| accuracy, validation set | 93.68 % | 93.72 % | 0.04 points below the teacher |",
        "| accuracy, test set | 93.58 % | 93.61 % | 0.03 points below the teacher |",
        "| parameters | 427,000 | 700,000 | 61.0 % of the teacher's |",
        "| share of the teacher's | 61.00 % (95 % interval 60.39 % to 61.61 %) |",
        f"| SHA-256 of the teacher's weights | {'cd' * 32} |",
        f"| SHA-256 of the artifact | {record.artifact_digest} |",
        "| rung | 2 (distilled) |",
        "| seconds of distillation | 95.5 |",
        "| processor | AMD EPYC 7B13 |",
        f"InferenceSession('{record.artifact}')",
        f"--pick {record.id} --out student.onnx",
    ):
        assert line in text


def test_card_escapes_what_users_supply(tmp_path: Path) -> None:
    text = write_card(MEMBERS[0], TEACHER, SITES, tmp_path, FACTS).read_text(encoding="utf-8")
    assert "| teacher | a\\|b &lt;script> |" in text


def test_few_raw_samples_stand_in_the_card(tmp_path: Path) -> None:
    record = MEMBERS[0]
    text = write_card(record, TEACHER, SITES, tmp_path, {}).read_text(encoding="utf-8")
    block = text.split("## Raw latency samples")[1].split("```json\n")[1].split("\n```")[0]
    assert record.latency is not None
    assert [tuple(visit["candidate_s"]) for visit in json.loads(block)] == [
        v.candidate_s for v in record.latency.visits
    ]
    assert list(tmp_path.glob("*.json")) == []


def test_many_raw_samples_lie_beside_it(tmp_path: Path) -> None:
    record = replace(MEMBERS[0], latency=make_latency(0.082, n_samples=150))
    path = write_card(record, TEACHER, SITES, tmp_path, {})
    beside = tmp_path / f"{record.id}.latency.json"
    assert beside.name in path.read_text(encoding="utf-8")
    assert [len(visit["anchor_s"]) for visit in json.loads(beside.read_text(encoding="utf-8"))] == [150, 150]


def test_an_untested_student_has_no_test_row(tmp_path: Path) -> None:
    untested = replace(MEMBERS[0], test_accuracy=None)
    assert "test set" not in write_card(untested, TEACHER, SITES, tmp_path, {}).read_text(encoding="utf-8")


def test_a_predicted_latency_is_called_predicted(tmp_path: Path) -> None:
    predicted = replace(
        MEMBERS[0], latency=replace(make_latency(0.082), source="predicted", visits=(), known_error=0.09)
    )
    text = write_card(predicted, TEACHER, SITES, tmp_path, {}).read_text(encoding="utf-8")
    assert "| source | predicted, not measured; estimate: median error 9 % where a clock could judge it |" in text
    assert "| seconds per inference | ~0.213 ms (" in text
    assert "| share of the teacher's | ~8.20 % (" in text
    assert "| speed-up | ~12.20 |" in text
    assert "None: no latency was measured." in text


def test_a_card_of_several_targets_has_the_latency_on_each(tmp_path: Path) -> None:
    path = write_card(HALF_NARROW, SEVERAL_TEACHER, SITES, tmp_path, {}, targets=TARGETS, chosen_for=TVM)
    text = path.read_text(encoding="utf-8")
    none, measured, estimated = text.split("## Latency\n\n")[1].split("## Lineage")[0].split("### ")[1:]
    assert none.split("\n\n") == ["cpu-1t", f"None: {NO_FLOAT16}", ""]
    assert measured.startswith(f"{TVM}\n")
    assert "| share of the teacher's | 33.00 % (" in measured
    assert estimated.startswith(f"{BOARD} (estimate, not measured)\n")
    assert "| share of the teacher's | ~27.00 % (" in estimated
    assert "- computed in float16" in text
    assert f"| llvm ({BOARD}) | 19.1.7 |" in text
    assert f"--pick {HALF_NARROW.id} --target {TVM} --out" in text
    samples = json.loads(text.split("## Raw latency samples")[1].split("```json\n")[1].split("\n```")[0])
    assert list(samples) == [TVM]
    assert len(samples[TVM][0]["candidate_s"]) == 8


def test_a_failed_record_has_no_card(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no latency"):
        write_card(FAILED, TEACHER, SITES, tmp_path, {})
    assert list(tmp_path.iterdir()) == []
