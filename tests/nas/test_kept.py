"""What candidates leave for the next ones: a few students."""

import pytest
from torch import nn

import nas.kept
from nas.kept import Kept
from search_spaces.recipe import Recipe
from search_spaces.transform import Student


def test_the_latest_students_are_kept_while_there_is_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    found, student = Kept(), Student(nn.Linear(3, 1))  # 16 bytes
    recipes = [Recipe.of({"a": i}) for i in range(5)]
    monkeypatch.setattr(nas.kept, "SIZE_BYTES", 3 * 16)
    for recipe in recipes:
        found.keep_student(recipe, student)
    assert list(found.students) == recipes[2:]
    monkeypatch.setattr(nas.kept, "SIZE_BYTES", 0)
    found.keep_student(recipes[0], student)
    assert list(found.students) == [recipes[4], recipes[0]]
