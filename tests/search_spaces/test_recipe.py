import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.recipe import Recipe, Site

SITE = Site("channels:a", "channels", (8, 4))


def test_order_does_not_matter() -> None:
    first = Recipe.of({"depth:b": "drop", "channels:a": 4})
    second = Recipe.of({"channels:a": 4, "depth:b": "drop"})
    assert first == second
    assert hash(first) == hash(second)
    assert first.to_json() == '{"channels:a":4,"depth:b":"drop"}'
    assert first.digest == hashlib.sha256(b'{"channels:a":4,"depth:b":"drop"}').hexdigest()[:12]
    assert Recipe().to_json() == "{}"
    assert Recipe().digest == "44136fa355b3"


def test_mapping() -> None:
    recipe = Recipe.of({"channels:a": 4})
    assert (recipe["channels:a"], len(recipe), list(recipe), "depth:b" in recipe) == (4, 1, ["channels:a"], False)
    assert recipe.get("depth:b", "keep") == "keep"
    with pytest.raises(KeyError, match="depth:b"):
        recipe["depth:b"]


def test_replace() -> None:
    recipe = Recipe.of({"depth:b": "drop"})
    cut = recipe.replace(SITE, 4)
    assert dict(cut) == {"channels:a": 4, "depth:b": "drop"}
    assert dict(recipe) == {"depth:b": "drop"}
    assert cut.replace(SITE, 8) == recipe
    with pytest.raises(ValueError, match=r"offers \(8, 4\), not 5"):
        recipe.replace(SITE, 5)


@given(st.dictionaries(st.text(), st.integers() | st.text()))
def test_json_round_trip(choices: dict[str, int | str]) -> None:
    recipe = Recipe.of(choices)
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize("text", ["[1]", '{"a": 1.5}', '{"a": true}', '{"a": null}', '{"a": {}}', "3", "", "{'a': 1}"])
def test_bad_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"recipe is a JSON object|Expecting"):
        Recipe.from_json(text)


def test_a_site_is_named_once() -> None:
    with pytest.raises(ValueError, match="names each site once"):
        Recipe((("a", 1), ("a", "x")))


def test_a_site_needs_a_choice() -> None:
    assert SITE.unchanged == 8
    for choices in ((8,), (8, 8), ()):
        with pytest.raises(ValueError, match="at least two different choices"):
            Site("channels:a", "channels", choices)
