import pytest
from torch import nn

from search_spaces.precision import Precision
from search_spaces.transform import Student


def test_one_site_with_the_options_on_offer() -> None:
    (site,) = Precision(("float32", "float16", "int8")).sites
    assert (site.name, site.kind, site.choices) == ("precision", "precision", ("float32", "float16", "int8"))
    assert Precision(("float32",)).sites == ()


@pytest.mark.parametrize("choice", ["float32", "float16", "int8"])
def test_the_student_computes_in_the_choice(choice: str) -> None:
    student = Student(nn.Linear(2, 2))
    other = Precision(("float32", "float16", "int8")).change(student, {"precision": choice})
    assert other.precision == choice
    assert other.module is student.module
    assert student.precision == "float32"
    assert Precision().apply(student, {}).precision == "float32"


@pytest.mark.parametrize(
    "options", [(), ("int8",), ("float16", "float32"), ("float32", "int4"), ("float32", "int8", "int8")]
)
def test_options_that_are_none(options: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="precisions are float32 and then"):
        Precision(options)
