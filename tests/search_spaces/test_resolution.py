import copy

import pytest
import torch
from torch import Tensor, nn

from search_spaces.recipe import Recipe
from search_spaces.resolution import Halving, Resolution, halvings, move
from search_spaces.space import SearchSpace


class Net(nn.Module):
    """Two halvings: by a block with a shortcut, and by a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.short = nn.Conv2d(8, 16, 1, stride=2)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = x + self.first(x).relu()
        x = (self.down(x) + self.short(x)).relu()
        x = self.pool(self.second(x).relu())
        y: Tensor = self.head(x.mean((2, 3)))
        return y


def sizes(network: nn.Module, names: tuple[str, ...]) -> list[tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: found.update({name: tuple(output.shape[2:])})
        )
    network(torch.zeros(1, 1, 12, 12))
    return [found[name] for name in names]


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def test_places_are_found_with_what_could_halve_before_them(net: Net) -> None:
    assert halvings(net, (torch.zeros(1, 1, 12, 12),)) == [
        Halving(("down", "short"), ("stem",)),
        Halving(("pool",), ("down", "short")),
    ]


def test_layers_in_between_see_a_quarter_of_the_positions(net: Net) -> None:
    first, second = halvings(net, (torch.zeros(1, 1, 12, 12),))
    names = ("stem", "first", "down", "short", "second", "pool")

    def moved(*chosen: Halving) -> nn.Module:
        network = copy.deepcopy(net)
        move(network, chosen)
        return network

    assert sizes(moved(first), names) == [(6, 6), (6, 6), (6, 6), (6, 6), (6, 6), (3, 3)]
    assert sizes(moved(second), names) == [(12, 12), (12, 12), (3, 3), (3, 3), (3, 3), (3, 3)]
    assert sizes(moved(first, second), names) == [(6, 6), (6, 6), (3, 3), (3, 3), (3, 3), (3, 3)]
    assert isinstance(moved(second).get_submodule("pool"), nn.Identity)


def test_a_layer_that_runs_twice_keeps_its_stride(net: Net) -> None:
    net.short = net.down
    assert halvings(net, (torch.zeros(1, 1, 12, 12),)) == [Halving(("pool",), ("second",))]


def test_an_odd_image_that_is_rounded_down_is_left_alone() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 16, 2)).eval()
    assert Resolution.of(net, (torch.zeros(2, 1, 9, 9),)).sites == ()


def test_repair_aims_at_the_teachers_answers_on_the_coarse_grid(net: Net) -> None:
    inputs = nn.functional.avg_pool2d(torch.randn(64, 1, 14, 14, generator=torch.Generator().manual_seed(1)), 3, 1)
    space = SearchSpace.from_teacher(net, (inputs,), torch.Generator().manual_seed(0))
    recipe = Recipe.of({"resolution:down": "half"})
    plain, repaired = space.build(recipe, repair=False), space.build(recipe)
    wanted = space.statistics.outputs
    with torch.no_grad():
        before = (plain.module(inputs) - wanted).square().mean()
        after = (repaired.module(inputs) - wanted).square().mean()
    assert float(after) < 0.1 * float(before)
