import pytest

from nas.figure import figure, hover
from nas.front import front_of
from search_spaces.recipe import Recipe
from tests.nas.records import MEMBERS, RECORDS, SITES, TEACHER, make_student
from tests.nas.several import BOARD, SEVERAL, SEVERAL_TEACHER

FRONT = front_of(RECORDS, TEACHER)


def test_figure_shows_every_record_once() -> None:
    traces = {trace.name: trace for trace in figure(FRONT, "digits", 0.2, SITES).data if trace.name}
    assert list(traces) == ["not on the front (validation set)", "front, float32", "front, int8", "teacher"]
    assert list(traces["front, int8"].x) == pytest.approx([8.2, 11.8, 19.0, 19.8])
    assert list(traces["front, int8"].y) == pytest.approx([90.70, 92.29, 93.05, 93.32])
    assert list(traces["front, int8"].error_x.array)[2:] == pytest.approx([0.57, 0.594])
    assert traces["not on the front (validation set)"].error_x.array is None


def test_budget_and_labels_stand_at_exponents_on_a_logarithmic_axis() -> None:
    notes = {note.text: note for note in figure(FRONT, budget_ratio=0.1).layout.annotations}
    assert notes["budget 10 %"].x == pytest.approx(1.0)


def test_hover_says_what_was_changed_and_how_good_it_is() -> None:
    lines = hover(FRONT, MEMBERS[4], SITES).split("<br>")
    assert lines == [
        f"<b>{MEMBERS[4].id}</b>",
        "accuracy 93.58 % on the test set, 0.03 points below the teacher",
        "1.59 ms [1.57 ms, 1.60 ms] measured, 1.64\N{MULTIPLICATION SIGN} faster",
        "61.0 % [60.4 %, 61.6 %] of the teacher's latency",
        "<i>2 widths (71 % of channels), 1 layer factorised</i>",
        "· blocks.4.conv1 128 → 64 channels",
        "· blocks.5.conv1 128 → 64 channels",
        "· blocks.4.conv2 factorised by Tucker-2 at 50 % of its rank",
    ]


def test_estimates_are_hollow_dashed_and_named() -> None:
    front = front_of(SEVERAL, SEVERAL_TEACHER, target=BOARD)
    picture = figure(front)
    line, others, half, whole, teacher = picture.data
    assert line.line.dash == "dash"
    assert [trace.marker.color for trace in (others, half, whole, teacher)] == ["white"] * 4
    assert (half.name, half.marker.symbol, half.error_x.color) == ("front, float16, estimate", "triangle-up", "#0072B2")
    said = "estimate: median error 9 % where a clock could judge it"
    assert picture.layout.xaxis.title.text.endswith(said)
    lines = hover(front, front.members[0]).split("<br>")
    assert lines[2] == "~6.42 ms [5.27 ms, 7.58 ms] predicted, ~3.85\N{MULTIPLICATION SIGN} faster"
    assert lines[3].startswith("~26.0 % [")
    assert lines[4] == f"<b>{said}</b>"


def test_hover_is_escaped_and_kept_short() -> None:
    student = make_student({f"channels:<i{n}>": 8 for n in range(12)}, 0.9, 0.9, 0.5)
    text = hover(front_of([student], TEACHER), student)
    assert "<i0>" not in text
    assert "&lt;i0&gt;" in text
    assert text.endswith("· and 2 more")
    assert student.recipe != Recipe()
