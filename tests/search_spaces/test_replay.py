"""Runs with changed layers give what a changed network gives, and run only what the change can reach."""

import copy

import pytest
import torch
from torch import Tensor, nn

from search_spaces.replay import Replay, nearest_map


class Chain(nn.Module):
    """Four layers, the second in a block that adds in place, and a count of what ran."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.third = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)
        self.ran: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.first(x))
        x += self.block(x)
        x = self.third(x).relu()
        outputs: Tensor = self.head(x.mean((2, 3)))
        return outputs


def network() -> Chain:
    torch.manual_seed(0)
    return Chain().eval()


X = torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("images_last", [False, True])
def test_the_unchanged_network(images_last: bool) -> None:
    teacher = network()
    replay = Replay(teacher, (X,), images_last)
    with torch.no_grad():
        wanted = teacher(X)
    torch.testing.assert_close(replay.outputs, wanted)
    for _ in range(2):  # what was remembered is not eaten up by operations in place
        torch.testing.assert_close(replay.changed({}), wanted)


def test_the_last_layer_with_another_weight() -> None:
    teacher, other = network(), network()
    replay = Replay(teacher, (X,))
    with torch.no_grad():
        other.head.weight.mul_(0.5)
        wanted = other(X)
    torch.testing.assert_close(replay.changed({"head": other.head.weight.detach()}), wanted)
    torch.testing.assert_close(replay.changed({}), replay.outputs)
    assert torch.equal(teacher.head.weight, network().head.weight)


def test_layers_before_the_change_do_not_run_again() -> None:
    teacher = network()
    replay = Replay(teacher, (X,))
    ran: list[str] = []
    for path, module in replay._network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            inner = module._conv_forward if isinstance(module, nn.Conv2d) else None
            if inner is not None:
                module._conv_forward = lambda *a, path=path, inner=inner: (ran.append(path), inner(*a))[1]
    replay.changed({"third": teacher.third.weight.detach().flatten(1)})
    assert ran == ["third"]


def test_layers_behind_a_change_are_mended() -> None:
    """The first layer's channels doubled: undone by a map behind, as all that follows is linear."""
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(16, 2)).eval()
    x = torch.randn(50, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    weight = teacher[0].weight
    assert isinstance(weight, Tensor)
    replay = Replay(teacher, (x,))
    off = (replay.changed({"0": 2 * weight.detach()}) - replay.outputs).square().mean()
    changed = copy.deepcopy(teacher)
    with torch.no_grad():
        changed[0].weight.mul_(2)  # type: ignore[operator, union-attr]
        unmended = (changed(x) - replay.outputs).square().mean()
    assert off < 0.01 * unmended


def test_something_in_place_of_a_module() -> None:
    teacher, dropped = network(), network()
    dropped.block = nn.Sequential(nn.Identity())
    dropped.third, dropped.head = teacher.third, teacher.head
    replay = Replay(teacher, (X,))
    assert replay.seen("block") is not None
    got = replay.changed({"block": lambda x: x, "third": teacher.third.weight.detach()})
    # The head is mended, so it is nearer to the teacher than the network without the block.
    with torch.no_grad():
        assert (got - replay.outputs).norm() < (dropped(X) - replay.outputs).norm()


def test_a_layer_that_runs_twice_is_never_answered_from_memory() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            outputs: Tensor = self.b(torch.tanh(self.a(torch.tanh(self.a(x)))))
            return outputs

    torch.manual_seed(0)
    teacher = Twice().eval()
    x = torch.randn(30, 4)
    replay = Replay(teacher, (x,))
    assert replay.seen("a") is None
    torch.testing.assert_close(replay.changed({"b": teacher.b.weight.detach()}), replay.outputs)


def test_nearest_map_by_hand() -> None:
    x = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
    matrix = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 3.0]])
    wanted = x @ matrix + torch.tensor([1.0, 0.0, -2.0])
    torch.testing.assert_close(nearest_map(x, wanted, -1)(x), wanted, atol=5e-3, rtol=0)
    few = nearest_map(x[:4], 3 * x[:4] + 1, -1)  # too few rows for more than a scale and a bias
    torch.testing.assert_close(few(x), 3 * x + 1, atol=1e-4, rtol=1e-4)


def test_a_map_between_channels_that_are_nearly_alike_is_as_good_while_bfloat16_is_on() -> None:
    generator = torch.Generator().manual_seed(2)
    shared, own = torch.randn(4000, 1, generator=generator), torch.randn(4000, 16, generator=generator)
    inputs = shared + 0.03 * own
    wanted = inputs + 0.01 * torch.randn(4000, 16, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        found = nearest_map(inputs, wanted, 1)
    off = (found(inputs) - wanted).square().mean()
    assert off <= 1.01 * (nearest_map(inputs, wanted, 1)(inputs) - wanted).square().mean()
