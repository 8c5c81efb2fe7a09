import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.cost import cost
from search_spaces.estimate import CostIndex, layers_of
from search_spaces.recipe import Recipe
from tests.search_spaces.networks import EXAMPLES
from tests.search_spaces.spaces import space_of

INDICES: dict[str, CostIndex] = {}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(EXAMPLES)), seed=st.integers(0, 10**6), share=st.sampled_from([0.2, 0.5, 0.9]))
def test_equals_the_cost_of_the_built_student(name: str, seed: int, share: float) -> None:
    space = space_of(name)
    index = INDICES.setdefault(name, CostIndex.of(space))
    recipe = space.sample(np.random.default_rng(seed), share)
    example = tuple(tensor[:1] for tensor in space.statistics.inputs)
    assert index.cost(recipe) == cost(space.build(recipe, repair=False).module, example)


def test_layers_of_literal_values() -> None:
    space = space_of("resnet")
    base = cost(space.teacher, space.statistics.inputs)
    layers = layers_of(space, base, Recipe.of({"depth:block1": "drop", "channels:down": 8}))
    assert [(layer.path, layer.n_in, layer.n_out, layer.n_positions) for layer in layers] == [
        ("stem", 1, 16, 81),
        ("down", 16, 8, 16),
        ("stage.0.conv1", 8, 16, 16),
        ("stage.0.conv2", 16, 8, 16),
        ("head", 8, 5, 1),
    ]


def test_a_strided_layer_in_three_factors() -> None:
    space = space_of("resnet")
    layers = CostIndex.of(space).layers(Recipe.of({"factorize:down": "tucker2:0.5"}))
    # 16 to 32 channels, 9x9 to 4x4 positions: 1x1 before the stride, 3x3 with it, 1x1 after it.
    found = [(x.path, x.kind, x.n_in, x.n_out, x.kernel, x.n_positions, x.n_macs) for x in layers if "down" in x.path]
    assert found == [
        ("down.factor0", "pointwise", 16, 8, 1, 81, 10368),
        ("down.factor1", "conv", 8, 16, 9, 16, 18432),
        ("down.last", "pointwise", 16, 32, 1, 16, 8192),
    ]


def test_a_flattened_channel_takes_all_its_features_along() -> None:
    layers = CostIndex.of(space_of("flattened")).layers(Recipe.of({"channels:conv2": 4}))
    assert [(x.path, x.n_in, x.n_out) for x in layers][2] == ("fc1", 64, 32)


def test_concatenated_cuts_add_up() -> None:
    layers = CostIndex.of(space_of("densenet")).layers(Recipe.of({"channels:a": 4, "channels:b": 8, "channels:c": 12}))
    assert [(x.path, x.n_in, x.n_out) for x in layers] == [("a", 3, 4), ("b", 4, 8), ("c", 12, 12), ("head", 96, 4)]


def test_refuses_what_build_refuses() -> None:
    index = CostIndex.of(space_of("resnet"))
    with pytest.raises(ValueError, match="no site channels:stem with the choice 7"):
        index.layers(Recipe.of({"channels:stem": 7}))
    with pytest.raises(ValueError, match="not of the search space's teacher"):
        CostIndex.of(space_of("resnet"), CostIndex.of(space_of("grouped")).base)
