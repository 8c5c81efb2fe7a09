import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces.recipe import Recipe
from search_spaces.space import SearchSpace
from tests.search_spaces.networks import EXAMPLES, build
from tests.search_spaces.spaces import space_of


def assert_valid(space: SearchSpace, recipe: Recipe) -> None:
    for name, choice in recipe.items():
        assert choice in space.sites[name].choices[1:]


@pytest.mark.parametrize("name", EXAMPLES)
def test_moves_are_valid_and_seeded(name: str) -> None:
    space = space_of(name)
    runs = []
    for _ in range(2):
        generator = np.random.default_rng(4)
        recipes = [space.sample(generator) for _ in range(4)]
        recipes += [space.mutate(recipe, generator) for recipe in recipes]
        recipes += [space.crossover(recipes[0], recipe, generator) for recipe in recipes]
        runs.append(recipes)
    assert runs[0] == runs[1]
    for recipe in runs[0]:
        assert_valid(space, recipe)


def test_mutation_moves_a_few_sites_to_neighbours() -> None:
    space = space_of("resnet")
    generator = np.random.default_rng(0)
    for _ in range(50):
        before = space.sample(generator)
        after = space.mutate(before, generator, 2)
        moved = [site for site in space.sites.values() if before.get(site.name) != after.get(site.name)]
        assert len(moved) == 2
        for site in moved:
            positions = [site.choices.index(recipe.get(site.name, site.unchanged)) for recipe in (before, after)]
            assert abs(positions[0] - positions[1]) == 1


def test_crossover_takes_each_choice_from_a_parent() -> None:
    space = space_of("resnet")
    generator = np.random.default_rng(0)
    first, second = space.sample(generator), space.sample(generator)
    children = [space.crossover(first, second, generator) for _ in range(20)]
    for child in children:
        assert all(child.get(name) in (first.get(name), second.get(name)) for name in space.sites)
    assert len(set(children)) > 10
    assert space.crossover(first, first, generator) == first


def test_sample_shares() -> None:
    space = space_of("resnet")
    assert len(space.sample(np.random.default_rng(0), 0.0)) == 0
    assert len(space.sample(np.random.default_rng(0), 1.0)) == len(space.sites)


def test_the_empty_recipe_is_the_teacher() -> None:
    space = space_of("densenet")
    student = space.build(Recipe())
    assert student.module is not space.teacher
    assert (student.precision, dict(student.keeps)) == ("float32", {})
    in_int8 = space.build(Recipe.of({"precision": "int8"}))
    assert in_int8.precision == "int8"
    for built in (student, in_int8):
        for one, other in zip(built.module.parameters(), space.teacher.parameters(), strict=True):
            assert torch.equal(one, other)
            assert one.data_ptr() != other.data_ptr()


@pytest.mark.parametrize("choices", [{"channels:stem": 7}, {"channels:nowhere": 4}, {"depth:block1": "DROP"}])
def test_unknown_choices_are_refused(choices: dict[str, int | str]) -> None:
    with pytest.raises(ValueError, match="this teacher has no site"):
        space_of("resnet").build(Recipe.of(choices))


def test_kinds_and_precisions_can_be_chosen() -> None:
    teacher, inputs = build("resnet")
    generator = torch.Generator().manual_seed(0)
    space = SearchSpace.from_teacher(teacher, inputs, generator, ("depth", "precision"), ("float32",))
    assert list(space.sites) == ["depth:block1", "depth:stage.0"]
    nothing = SearchSpace.from_teacher(teacher, inputs, generator, ())
    assert dict(nothing.sites) == {}
    assert nothing.sample(np.random.default_rng(0)) == Recipe()
    assert nothing.mutate(Recipe(), np.random.default_rng(0)) == Recipe()


def test_consumers_that_run_more_than_once_are_not_counted() -> None:
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), Twice())
    space = SearchSpace.from_teacher(network.eval(), (torch.randn(64, 4),), torch.Generator(), ("channels",))
    reasons = {item.root: item.reason for item in space.unprunable}
    assert reasons["0"] == "the layers that consume it run more than once in a pass"
    assert dict(space.sites) == {}


class Twice(nn.Module):
    """The same layer on its input and on its input reversed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.layer(-x)


class Fragile(nn.Module):
    """Runs only with a layer of the class it was written for."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[:, : self.layer.out_features]


def test_sites_whose_students_do_not_run_are_blocked() -> None:
    space = SearchSpace.from_teacher(Fragile().eval(), (torch.randn(32, 16),), torch.Generator())
    assert space.blocked == {"factorize:layer": "'Sequential' object has no attribute 'out_features'"}
    assert list(space.sites) == ["precision"]


def test_the_seed_draws_the_rows() -> None:
    teacher, inputs = build("resnet")
    first, second = (
        SearchSpace.from_teacher(teacher, inputs, torch.Generator().manual_seed(seed), ()).statistics.rows["stem"]
        for seed in (0, 1)
    )
    assert first.outputs.shape == second.outputs.shape == (2048, 16)
    assert not torch.equal(first.positions, second.positions)
