import pytest

from nas.words import about, against_teacher, changes, duration, estimate, in_words, milliseconds, percent, summary
from search_spaces.recipe import Recipe, Site

SITES = {
    "channels:blocks.0.conv1": Site("channels:blocks.0.conv1", "channels", (32, 16, 8)),
    "channels:blocks.2.conv1": Site("channels:blocks.2.conv1", "channels", (64, 32)),
    "channels:blocks.10.conv1": Site("channels:blocks.10.conv1", "channels", (64, 32)),
    "depth:blocks.1": Site("depth:blocks.1", "depth", ("keep", "drop")),
    "depth:blocks.10": Site("depth:blocks.10", "depth", ("keep", "drop")),
    "factorize:blocks.2.conv2": Site("factorize:blocks.2.conv2", "factorize", ("keep", "tucker2:0.5")),
    "precision": Site("precision", "precision", ("float32", "int8")),
}


def test_the_empty_recipe_is_the_teacher() -> None:
    assert in_words(Recipe()) == summary(Recipe()) == "as the teacher"


def test_says_what_each_kind_of_choice_does() -> None:
    recipe = Recipe.of(
        {"channels:blocks.0.conv1": 16, "depth:blocks.1": "drop", "factorize:fc": "svd:0.5", "precision": "int8"}
    )
    assert changes(recipe, SITES) == (
        "blocks.1 dropped",
        "blocks.0.conv1 32 → 16 channels",
        "fc factorised by SVD at 50 % of its rank",
        "computed in int8",
    )


def test_says_less_without_the_sites() -> None:
    assert in_words(Recipe.of({"channels:blocks.0.conv1": 16})) == "blocks.0.conv1 16 channels"


def test_layers_come_in_the_order_people_count_them() -> None:
    recipe = Recipe.of({"depth:blocks.10": "drop", "depth:blocks.2": "drop"})
    assert in_words(recipe) == "blocks.2 dropped; blocks.10 dropped"


def test_an_unknown_kind_is_shown_as_it_is() -> None:
    assert in_words(Recipe.of({"activation:act": "relu"})) == "activation:act: relu"
    assert summary(Recipe.of({"activation:act": "relu"})) == "1 other change"


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({"channels:blocks.0.conv1": 16}, "1 width (90 % of channels)"),
        # Of 96 channels outside the dropped block, 48 are kept.
        (
            {"channels:blocks.0.conv1": 16, "channels:blocks.2.conv1": 32, "depth:blocks.10": "drop"},
            "2 widths (50 % of channels), 1 block dropped",
        ),
        ({"factorize:blocks.2.conv2": "tucker2:0.5", "precision": "int8"}, "1 layer factorised, int8"),
    ],
)
def test_summary(choices: dict[str, str | int], expected: str) -> None:
    assert summary(Recipe.of(choices), SITES) == expected


def test_summary_without_sites_leaves_the_share_out() -> None:
    assert summary(Recipe.of({"channels:blocks.0.conv1": 16})) == "1 width"


def test_figures() -> None:
    assert against_teacher(0.003) == "0.30 points below the teacher"
    assert against_teacher(-0.25, is_share=False) == "0.25 above the teacher"
    assert percent(0.93124) == "93.12 %"
    assert [milliseconds(s) for s in (2.613e-4, 0.0026134, 0.02613, 1.5, 4.2e-5)] == [
        "0.261 ms",
        "2.61 ms",
        "26.1 ms",
        "1500 ms",
        "0.0420 ms",
    ]
    assert [duration(s) for s in (75.2, 3725.0, -3.0)] == ["1:15", "1:02:05", "0:00"]


def test_what_is_predicted_is_marked() -> None:
    assert (about("1.2 ms", "measured"), about("1.2 ms", "predicted")) == ("1.2 ms", "~1.2 ms")
    assert estimate(0.09) == "estimate: median error 9 % where a clock could judge it"
    assert estimate(0.0853) == "estimate: median error 8.5 % where a clock could judge it"
    assert estimate(None) == "estimate: error unknown"


def test_half_precision_is_named() -> None:
    assert in_words(Recipe.of({"precision": "float16"})) == "computed in float16"
    assert summary(Recipe.of({"precision": "float16"})) == "float16"
