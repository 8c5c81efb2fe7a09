import pytest
import torch
from torch import Tensor, nn

from search_spaces.depth import residual_blocks
from search_spaces.recipe import Recipe
from tests.search_spaces.networks import Residual, build
from tests.search_spaces.spaces import space_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet", ["block1", "stage.0"]),
        ("mobilenet", ["block"]),
        ("transformer", ["block"]),
        ("densenet", []),
        ("grouped", []),
        ("flattened", []),
        ("conv1d", []),
        ("two_inputs", []),
        ("only_blocks", ["0"]),
    ],
)
def test_finds_residual_blocks(name: str, expected: list[str]) -> None:
    teacher, inputs = build(name)
    assert residual_blocks(teacher, tuple(tensor[:2] for tensor in inputs)) == expected


class Gate(nn.Module):
    """Squeeze-and-excitation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Block(nn.Module):
    """A residual block with a layer between its input and output, and an activation after the sum."""

    def __init__(self, inner: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.conv, self.inner, self.activation = nn.Conv2d(8, 8, 3, padding=1), inner, activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.inner(self.conv(x)))


ACTIVATIONS = [nn.Identity(), nn.ReLU(), nn.ReLU6(), nn.GELU(), nn.SiLU(), nn.LeakyReLU()]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_a_gate_is_not_a_block_and_hides_none(activation: nn.Module) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Sequential(Block(Gate(8), activation)), Gate(8)).eval()
    assert residual_blocks(network, (torch.randn(2, 3, 5, 5),)) == ["2.0"]


def test_plain_sequences_are_no_blocks() -> None:
    same = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    network = nn.Sequential(nn.Sequential(same, nn.Sequential(nn.Conv2d(8, 8, 1))), nn.Sequential(nn.ReLU())).eval()
    assert residual_blocks(network, (torch.randn(2, 8, 5, 5),)) == []


def test_a_block_whose_layer_is_used_elsewhere_stays() -> None:
    blocks = [Residual(8, 8), Residual(8, 8)]
    blocks[1].conv1 = blocks[0].conv1
    network = nn.Sequential(nn.Conv2d(1, 8, 1), *blocks, Residual(8, 8)).eval()
    assert residual_blocks(network, (torch.randn(2, 1, 5, 5),)) == ["3"]


def test_a_block_that_runs_twice_is_dropped_under_both_names() -> None:
    block = Residual(8, 8)
    network = nn.Sequential(nn.Conv2d(1, 8, 1), block, nn.ReLU(), block).eval()
    assert residual_blocks(network, (torch.randn(2, 1, 5, 5),)) == ["1"]


def test_all_blocks_dropped_leaves_the_rest() -> None:
    space = space_of("resnet")
    student = space.build(Recipe.of({"depth:block1": "drop", "depth:stage.0": "drop"}))
    kinds = (nn.Conv2d, nn.Linear)
    assert [path for path, m in student.module.named_modules() if isinstance(m, kinds)] == ["stem", "down", "head"]
    only = space_of("only_blocks").build(Recipe.of({"depth:0": "drop"}))
    assert sum(p.numel() for p in only.module.parameters()) > 0
