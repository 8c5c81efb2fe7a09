from dataclasses import replace

import pytest
import torch
from torch import nn

from search_spaces.recipe import Recipe
from search_spaces.repair import reestimate_batch_norm, refit, solve_layer
from search_spaces.space import SearchSpace
from search_spaces.statistics import collect
from tests.search_spaces.networks import build


def test_solve_layer_literal_values() -> None:
    layer = nn.Linear(1, 1)
    nn.init.zeros_(layer.weight)
    x = torch.tensor([[-1.0], [1.0]])
    solve_layer(layer, x, 2 * x + 3)
    # The ridge is 0.1 of a variance of 1 for one feature in two rows.
    assert layer.weight.item() == pytest.approx(2 / 1.05, rel=1e-5)
    assert layer.bias.item() == pytest.approx(3.0)


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize(
    "layer", [nn.Linear(7, 4), nn.Linear(7, 4, bias=False), nn.Conv2d(6, 8, 2, groups=2), nn.Conv1d(5, 4, 3)]
)
def test_solve_layer_recovers_a_known_weight(layer: nn.Linear | nn.Conv1d | nn.Conv2d, bfloat16: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    groups = getattr(layer, "groups", 1)
    wanted = torch.randn(layer.weight.shape, generator=generator)
    bias = torch.randn(len(wanted), generator=generator) if layer.bias is not None else torch.zeros(len(wanted))
    x = torch.randn(4000, groups * wanted[0].numel(), generator=generator)
    parts = zip(x.chunk(groups, 1), wanted.movedim(1, -1).flatten(1).chunk(groups), strict=True)
    y = torch.cat([rows @ weight.T for rows, weight in parts], 1) + bias
    solve_layer(layer, x, y, bfloat16)
    torch.testing.assert_close(layer.weight.detach(), wanted, rtol=0, atol=0.02)
    if layer.bias is not None:
        torch.testing.assert_close(layer.bias.detach(), bias, rtol=0, atol=0.02)


def test_solve_layer_survives_dead_and_broken_inputs() -> None:
    layer = nn.Linear(3, 2)
    weight = layer.weight.detach().clone()
    solve_layer(layer, torch.zeros(10, 3), torch.ones(10, 2))
    assert torch.equal(layer.weight, weight)
    torch.testing.assert_close(layer.bias.detach(), torch.ones(2))
    solve_layer(layer, torch.full((10, 3), torch.nan), torch.ones(10, 2))
    assert torch.equal(layer.weight, weight)


def duplicated() -> nn.Sequential:
    """Hidden units 4 to 7 are those of 0 to 3 again."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    with torch.no_grad():
        network[0].weight[4:] = network[0].weight[:4]
        network[0].bias[4:] = network[0].bias[:4]
    return network


def test_removing_duplicates_costs_nothing() -> None:
    teacher, inputs = duplicated(), torch.randn(400, 5)
    space = SearchSpace.from_teacher(teacher, (inputs,), torch.Generator().manual_seed(0), ("channels",))
    recipe = Recipe.of({"channels:0": 4})
    units = space.transforms["channels"].units("channels:0", 4)
    assert sorted(unit % 4 for unit in units) == [0, 1, 2, 3]
    with torch.no_grad():
        wanted = teacher(inputs)
        repaired = space.build(recipe).module(inputs)
        sliced = space.build(recipe, repair=False).module(inputs)
    spread = float(wanted.std())
    assert float((repaired - wanted).abs().max()) < 0.03 * spread
    assert float((sliced - wanted).abs().max()) > 0.3 * spread


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_broken_layer_is_mended_and_those_before_it_are_left_alone(bfloat16: bool) -> None:
    teacher, inputs = build("flattened")
    statistics = replace(collect(teacher, inputs, torch.Generator().manual_seed(0)), bfloat16=bfloat16)
    student, _ = build("flattened")
    with torch.no_grad():
        student.get_submodule("fc1").weight.mul_(0.5)
        before = student(*inputs)
        refit(student, statistics, {})
        after = student(*inputs)
    errors = [float((answers - statistics.outputs).abs().mean()) for answers in (before, after)]
    assert errors[1] < 0.05 * errors[0]
    own, of_teacher = student.state_dict(), teacher.state_dict()
    changed = {name.partition(".")[0] for name in own if not torch.equal(own[name], of_teacher[name])}
    assert changed == {"fc1", "fc2"}
    assert all(tensor.dtype == torch.float32 for tensor in own.values())


class Named(nn.Module):
    """A teacher that calls one of its own layers `last`."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential()
        self.head.add_module("first", nn.Linear(4, 20))
        self.head.add_module("last", nn.Linear(20, 20))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x)


def test_a_layer_called_last_is_refitted_too() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(300, 4)
    teacher = Named().eval()
    space = SearchSpace.from_teacher(teacher, (inputs,), torch.Generator().manual_seed(0))
    for choices, name in (({}, "head.last"), ({"factorize:head.last": "svd:0.25"}, "head.last.last")):
        student = space.build(Recipe.of(choices), repair=False).module
        with torch.no_grad():
            student.get_submodule(name).weight.mul_(0.1)
            broken = float((student(inputs) - teacher(inputs)).abs().mean())
            refit(student, space.statistics, {})
            repaired = float((student(inputs) - teacher(inputs)).abs().mean())
        assert repaired < 0.1 * broken


def test_batch_norm_takes_the_calibration_inputs_statistics() -> None:
    network = nn.Sequential(nn.BatchNorm1d(1)).eval()
    inputs = torch.tensor([[0.0], [2.0], [4.0], [6.0]])
    reestimate_batch_norm(network, (inputs,))
    assert float(network[0].running_mean) == pytest.approx(3.0)
    assert float(network[0].running_var) == pytest.approx(20 / 3)
    assert network[0].momentum == 0.1
    assert not network[0].training
