"""The contract over every transform and teacher, and over whole recipes."""

import numpy as np
import pytest
import torch

from search_spaces.recipe import Kind, Recipe
from search_spaces.space import ORDER, SearchSpace
from search_spaces.transform import Student
from tests.search_spaces.contract import check_transform
from tests.search_spaces.networks import EXAMPLES, build
from tests.search_spaces.spaces import space_of


@pytest.mark.parametrize("kind", ORDER)
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_transform_keeps_the_contract(name: str, kind: Kind) -> None:
    space = space_of(name)
    check_transform(space.transforms[kind], space.teacher, space.statistics.inputs)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_contract_is_not_empty(name: str) -> None:
    kinds = {site.kind for site in space_of(name).sites.values()}
    expected = {
        "resnet": {"depth", "channels", "factorize", "precision"},
        "densenet": {"channels", "factorize", "precision"},
        "mobilenet": {"depth", "resolution", "channels", "factorize", "precision"},
        "grouped": {"resolution", "channels", "factorize", "precision"},
        "flattened": {"resolution", "channels", "factorize", "precision"},
        "conv1d": {"channels", "precision"},
        "two_inputs": {"channels", "factorize", "precision"},
        "channel_norm": {"channels", "factorize", "precision"},
        "hard_coded_view": {"precision"},
        "transformer": {"depth", "channels", "factorize", "precision"},
        "shared": {"channels", "factorize", "precision"},
        "tied": {"channels", "factorize", "precision"},
        "upsampling": {"precision"},
        "only_blocks": {"depth", "channels", "precision"},
        "nothing": {"precision"},
    }
    assert kinds == expected[name]


@pytest.mark.parametrize("name", EXAMPLES)
def test_random_recipes_give_students_that_run(name: str) -> None:
    space = space_of(name)
    generator = np.random.default_rng(2)
    state = {key: value.clone() for key, value in space.teacher.state_dict().items()}
    wanted = space.statistics.outputs
    for share in (0.3, 0.7, 1.0):
        student = space.build(space.sample(generator, share))
        with torch.no_grad():
            outputs = student.module(*space.statistics.inputs)
        assert outputs.shape == wanted.shape
        assert bool(torch.isfinite(outputs).all())
    assert all(torch.equal(value, state[key]) for key, value in space.teacher.state_dict().items())


@pytest.mark.parametrize("name", ["resnet", "densenet", "mobilenet"])
def test_same_seed_same_recipe_same_weights(name: str) -> None:
    teacher, inputs = build(name)
    spaces = [SearchSpace.from_teacher(teacher, inputs, torch.Generator().manual_seed(5)) for _ in range(2)]
    recipe = spaces[0].sample(np.random.default_rng(1))
    first, second = (space.build(recipe).module.state_dict() for space in spaces)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_frozen_teacher_gives_the_same_students() -> None:
    free, frozen = (build("resnet", frozen=frozen) for frozen in (False, True))
    spaces = [SearchSpace.from_teacher(*pair, torch.Generator().manual_seed(0)) for pair in (free, frozen)]
    assert list(spaces[0].sites) == list(spaces[1].sites)
    recipe = Recipe.of({"channels:stem": 8, "depth:block1": "drop", "factorize:down": "tucker2:0.5"})
    first, second = (space.build(recipe).module for space in spaces)
    assert all(parameter.requires_grad for parameter in first.parameters())
    assert not any(parameter.requires_grad for parameter in second.parameters())
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_choices_without_effect_are_named() -> None:
    space = space_of("resnet")
    recipe = Recipe.of(
        {
            "depth:block1": "drop",
            "channels:block1.conv1": 8,
            "factorize:block1.conv2": "spatial:0.5",
            "channels:stem": 8,
            "channels:stage.0.conv1": 4,
            "channels:down": 4,
            "factorize:stage.0.conv1": "tucker2:0.5",
        }
    )
    student = space.build(recipe, repair=False)
    assert student.without_effect == {
        "channels:block1.conv1": "every layer that it would cut is in a dropped block",
        "factorize:block1.conv2": "the layer is in a dropped block",
    }


def test_a_factorisation_that_no_longer_pays_leaves_the_layer_dense() -> None:
    space = space_of("flattened")
    cut = space.build(Recipe.of({"channels:fc1": 4}), repair=False)
    both = space.build(Recipe.of({"channels:fc1": 4, "factorize:fc1": "svd:0.25"}), repair=False)
    assert type(both.module.get_submodule("fc1")) is torch.nn.Sequential  # rank 1 of 4: 256 + 4 < 1024
    assert cut.without_effect == both.without_effect == {}
    transform = space.transforms["factorize"]
    narrow = Student(torch.nn.Sequential())
    narrow.module.add_module("fc1", torch.nn.Linear(6, 1))
    left = transform.apply(narrow, {"factorize:fc1": "svd:0.5"})
    assert type(left.module.get_submodule("fc1")) is torch.nn.Linear
    assert left.without_effect == {
        "factorize:fc1": "so few channels are left that the factors would cost more than the layer"
    }
