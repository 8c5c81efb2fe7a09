"""What candidates leave for the next ones: a few students."""

from torch import nn

from nas.kept import N_STUDENTS, Kept
from search_spaces.recipe import Recipe
from search_spaces.transform import Student


def test_only_the_latest_students_are_kept() -> None:
    found, student = Kept(), Student(nn.Identity())
    recipes = [Recipe.of({"a": i}) for i in range(N_STUDENTS + 1)]
    for recipe in recipes:
        found.keep_student(recipe, student)
    assert list(found.students) == recipes[1:]
