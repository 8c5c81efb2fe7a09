"""What candidates leave for the next ones: a few students, and where every scored record stands."""

from dataclasses import replace

import pytest
from torch import nn

from nas.kept import N_STUDENTS, Kept
from nas.record import Record
from search_spaces.recipe import Recipe
from search_spaces.transform import Student
from tests.nas.records import make_latency


def record(name: str, accuracy: float, ratio: float, rung: int = 0) -> Record:
    return Record(Recipe.of({name: 1}), rung=rung, accuracy=accuracy, latency=make_latency(ratio))


def kept(*records: Record) -> Kept:
    found = Kept(standings={})
    for one in records:
        found.keep_standing(one)
    return found


def test_only_the_latest_students_are_kept() -> None:
    found, student = Kept(), Student(nn.Identity())
    recipes = [Recipe.of({"a": i}) for i in range(N_STUDENTS + 1)]
    for recipe in recipes:
        found.keep_student(recipe, student)
    assert list(found.students) == recipes[1:]


def test_the_bar_is_the_best_of_those_that_are_faster_beyond_doubt() -> None:
    found = kept(record("a", 0.9, 0.2), record("b", 0.95, 0.3), record("c", 0.99, 0.6), record("d", 0.97, 0.2, rung=1))
    assert found.bar(record("new", 0.0, 0.5)) == 0.95
    assert found.bar(record("new", 0.0, 0.25)) == 0.9
    assert found.bar(record("new", 0.0, 0.2)) is None
    assert found.bar(record("new", 0.0, 0.5, rung=1)) == 0.97
    assert found.bar(record("new", 0.0, 0.5, rung=2)) is None


def test_failures_and_the_teacher_set_no_bar() -> None:
    failed = replace(record("a", 0.9, 0.2), failure="broken")
    found = kept(failed, replace(record("a", 0.9, 0.2), recipe=Recipe()))
    assert found.bar(record("new", 0.0, 0.5)) is None


def test_with_several_targets_it_must_be_beaten_on_each() -> None:
    other = replace(make_latency(0.2), target="board")
    both = replace(record("a", 0.9, 0.2), elsewhere={"board": other})
    found = kept(both, record("b", 0.97, 0.3))
    slow = replace(record("new", 0.0, 0.5), elsewhere={"board": replace(make_latency(0.5), target="board")})
    assert found.bar(slow) == pytest.approx(0.9)
    fast_there = replace(slow, elsewhere={"board": replace(make_latency(0.1), target="board")})
    assert found.bar(fast_there) is None
