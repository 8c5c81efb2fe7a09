"""What a candidate has to reach in order to matter."""

from dataclasses import replace

import pytest

from nas.bar import bar
from nas.record import Record
from search_spaces.recipe import Recipe
from tests.nas.records import make_latency


def record(name: str, accuracy: float, ratio: float, rung: int = 0) -> Record:
    return Record(Recipe.of({name: 1}), rung=rung, accuracy=accuracy, latency=make_latency(ratio))


def test_the_bar_is_the_best_of_those_that_are_faster_beyond_doubt() -> None:
    known = [record("a", 0.9, 0.2), record("b", 0.95, 0.3), record("c", 0.99, 0.6), record("d", 0.97, 0.2, rung=1)]
    assert bar(known, record("new", 0.0, 0.5)) == 0.95
    assert bar(known, record("new", 0.0, 0.25)) == 0.9
    assert bar(known, record("new", 0.0, 0.2)) is None
    assert bar(known, record("new", 0.0, 0.5, rung=1)) == 0.97
    assert bar(known, record("new", 0.0, 0.5, rung=2)) is None


def test_failures_and_the_teacher_set_no_bar() -> None:
    failed = replace(record("a", 0.9, 0.2), failure="broken")
    known = [failed, replace(record("a", 0.9, 0.2), recipe=Recipe())]
    assert bar(known, record("new", 0.0, 0.5)) is None


def test_with_several_targets_it_must_be_beaten_on_each() -> None:
    other = replace(make_latency(0.2), target="board")
    both = replace(record("a", 0.9, 0.2), elsewhere={"board": other})
    known = [both, record("b", 0.97, 0.3)]
    slow = replace(record("new", 0.0, 0.5), elsewhere={"board": replace(make_latency(0.5), target="board")})
    assert bar(known, slow) == pytest.approx(0.9)
    fast_there = replace(slow, elsewhere={"board": replace(make_latency(0.1), target="board")})
    assert bar(known, fast_there) is None
