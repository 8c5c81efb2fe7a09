from dataclasses import replace

import pytest

from nas.front import front_of
from nas.fronts import fronts_of
from nas.plane import frame_of, frames_of, groups, labels, latency_title, others_label, stairs, subtitle
from tests.nas.records import DOMINATED, MEMBERS, RECORDS, TEACHER, make_latency, make_student
from tests.nas.several import BOARD, SEVERAL, SEVERAL_TEACHER, TARGETS, TVM

FRONT = front_of(RECORDS, TEACHER)


def test_an_outlier_does_not_squash_the_front() -> None:
    outlier = make_student({"precision": "int8"}, 0.1, 0.1, 0.02)
    frame = frame_of(front_of([*RECORDS, outlier], TEACHER))
    assert frame.y_low > 85
    assert frame.hidden == 1
    assert frame.x_low > 4  # nor does it widen the latency axis


def test_tiny_differences_are_not_blown_up() -> None:
    frame = frame_of(front_of([MEMBERS[4]], TEACHER))
    assert frame.y_high - frame.y_low == pytest.approx(1.3)


def test_everything_on_the_front_is_in_the_frame() -> None:
    frame = frame_of(FRONT, 0.2)
    for x, y in zip(*stairs(FRONT, frame), strict=True):
        across, up = frame.fractions(x, y)
        assert 0 <= across <= 1 + 1e-9
        assert 0 < up < 1


def test_the_latency_axis_is_logarithmic_where_the_range_is_wide() -> None:
    assert frame_of(FRONT).is_log
    assert not frame_of(front_of([MEMBERS[4]], TEACHER)).is_log
    assert frame_of(front_of([MEMBERS[4]], TEACHER), budget_ratio=0.1).is_log


def test_stairs_end_with_the_teacher_unless_it_is_beaten() -> None:
    xs, ys = stairs(FRONT, frame_of(FRONT))
    assert [xs[-2], ys[-2]] == pytest.approx([100, 93.61])
    better = front_of([make_student({"depth:blocks.1": "drop"}, 0.94, 0.94, 0.5)], TEACHER)
    assert stairs(better, frame_of(better))[0] == pytest.approx([50, frame_of(better).x_high])


def test_labels_name_speed_up_and_drop() -> None:
    texts = [text for _, _, text in labels(FRONT, frame_of(FRONT, 0.2), 0.2)]
    assert texts[0] == "5.3\N{MULTIPLICATION SIGN}  \N{MINUS SIGN}0.56 pt"  # the most accurate within the budget
    assert texts[1] == "12.2\N{MULTIPLICATION SIGN}  \N{MINUS SIGN}2.9 pt"  # the fastest


def test_labels_do_not_touch() -> None:
    crowd = [make_student({"channels:a": i}, 0.934 + i * 1e-5, 0.934 + i * 1e-5, 0.3 + i * 1e-4) for i in range(1, 30)]
    front = front_of([*RECORDS, *crowd], TEACHER)
    frame = frame_of(front)
    places = [frame.fractions(x, y) for x, y, _ in labels(front, frame)]
    assert 3 <= len(places) < len(front.members)
    for i, (across, up) in enumerate(places):
        assert all(abs(across - a) >= 0.17 or abs(up - u) >= 0.065 for a, u in places[:i])


def test_legend_and_subtitle_say_which_set() -> None:
    assert others_label(FRONT) == "not on the front (validation set)"
    assert others_label(front_of([*MEMBERS, DOMINATED[0]], TEACHER)) == "not on the front"
    assert "on the test set" in subtitle(FRONT)
    untested = front_of([replace(record, test_accuracy=None) for record in MEMBERS], TEACHER)
    assert "on the validation set" in subtitle(untested)


def test_frames_of_several_targets_share_the_vertical_axis() -> None:
    fronts = fronts_of(SEVERAL, SEVERAL_TEACHER, TARGETS)
    frames = frames_of(fronts, {})
    alone = [frame_of(front) for front in fronts.values()]
    assert {frame.y_low for frame in frames.values()} == {min(frame.y_low for frame in alone)}
    assert {frame.y_high for frame in frames.values()} == {max(frame.y_high for frame in alone)}
    assert [frame.x_high for frame in frames.values()] == [frame.x_high for frame in alone]


def test_estimates_are_named_in_groups_titles_and_labels() -> None:
    fronts = fronts_of(SEVERAL, SEVERAL_TEACHER, TARGETS)
    board, tvm = fronts[BOARD], fronts[TVM]
    assert [group.name for group in groups(board)] == [
        "not on the front, estimate", "front, float16, estimate", "front, float32, estimate", "teacher, estimate"
    ]  # fmt: skip
    assert [group.name for group in groups(tvm)] == ["not on the front", "front, float16", "front, float32", "teacher"]
    said = "estimate: median error 9 % where a clock could judge it"
    assert latency_title(board) == f"latency, share of the teacher's · {said}"
    assert latency_title(tvm) == "latency, share of the teacher's"
    assert f"{BOARD} (not measured) · teacher ~24.7 ms" in subtitle(board)
    assert all(text.startswith("~") for _, _, text in labels(board, frame_of(board)))
    assert not any(text.startswith("~") for _, _, text in labels(tvm, frame_of(tvm)))


def test_one_estimate_among_measured_latencies_is_a_group_of_its_own() -> None:
    predicted = replace(MEMBERS[0], latency=replace(make_latency(0.082), source="predicted"))
    front = front_of([predicted, *MEMBERS[1:]], TEACHER)
    alone = next(group for group in groups(front) if group.is_predicted)
    assert (alone.name, alone.records) == ("front, int8, estimate", (predicted,))
    assert latency_title(front) == "latency, share of the teacher's · hollow: estimate: error unknown"
