import pytest
import torch
from torch import nn

from search_spaces.factorize import DENSE, Factorize, factorizable, factors, worthwhile
from search_spaces.ranks import Factor, factors_of, saves


@pytest.mark.parametrize(
    ("layer", "choice", "shape"),
    [
        (nn.Linear(6, 4), "svd:1.0", (3, 6)),
        (nn.Linear(4, 6, bias=False), "svd:1.0", (3, 5, 4)),
        (nn.Conv2d(6, 4, 1, stride=2, bias=False), "svd:1.0", (2, 6, 7, 7)),
        (nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2)), "spatial:5.0", (2, 4, 8, 8)),
        (nn.Conv2d(4, 6, 3, dilation=2, padding=2), "spatial:3.0", (2, 4, 8, 8)),
        (nn.Conv2d(4, 20, 3, stride=2, padding=1), "tucker2:1.0", (2, 4, 9, 9)),
        (nn.Conv2d(28, 6, 3, dilation=2, bias=False), "tucker2:1.0", (2, 28, 8, 8)),
    ],
    ids=str,
)
@torch.no_grad()
def test_full_rank_is_the_layer(layer: nn.Module, choice: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    replaced = factors(layer, choice)
    torch.testing.assert_close(replaced(x), layer(x), rtol=1e-4, atol=1e-4)
    last = replaced.get_submodule("last")
    assert (last.bias is None) == (layer.bias is None)
    assert not replaced.training


def test_sizes_literal_values() -> None:
    assert factors_of("svd:0.5", 64, 32) == (
        Factor(64, 16, (1, 1), (True, True)),
        Factor(16, 32, (1, 1), (False, False)),
    )
    assert factors_of("spatial:0.25", 32, 64, (3, 5)) == (
        Factor(32, 8, (3, 1), (True, False)),
        Factor(8, 64, (1, 5), (False, True)),
    )
    assert factors_of("tucker2:0.25", 32, 64, (3, 3)) == (
        Factor(32, 8, (1, 1), (False, False)),
        Factor(8, 16, (3, 3), (True, True)),
        Factor(16, 64, (1, 1), (False, False)),
    )
    assert factors_of("svd:0.25", 2, 2)[0].n_out == 1
    with pytest.raises(ValueError, match=r"'qr:0\.5' is not a factorisation"):
        factors_of("qr:0.5", 8, 8)


@pytest.mark.parametrize(
    ("expected", "arguments"),
    [
        (False, ("svd:0.5", 64, 64)),  # 64 * 32 * 2 = 4096 is what the layer has
        (True, ("svd:0.5", 64, 32)),
        (True, ("svd:0.25", 16, 16)),
        (False, ("svd:0.5", 16, 16)),  # 16 * 8 * 2 = 256 is what the layer has
        (True, ("tucker2:0.25", 256, 16, (3, 3))),
        (False, ("tucker2:0.25", 256, 16, (3, 3), (2, 2))),  # 256 * 64 weights run at four times the positions
        (False, ("tucker2:0.5", 256, 16, (3, 3))),
        (False, ("svd:0.5", 3, 1)),
    ],
)
def test_what_saves(expected: bool, arguments: tuple[object, ...]) -> None:
    assert saves(*arguments) is expected


def test_what_is_offered() -> None:
    both = ("tucker2:0.5", "tucker2:0.25", "spatial:0.5", "spatial:0.25")
    assert factorizable(nn.Conv2d(32, 32, 3)) == (DENSE, *both)
    assert factorizable(nn.Conv2d(64, 32, 1)) == (DENSE, "svd:0.5", "svd:0.25")
    assert factorizable(nn.Linear(16, 16)) == (DENSE, "svd:0.25")
    refused: list[nn.Module] = [
        nn.Linear(64, 10),
        nn.Conv2d(32, 32, 3, groups=2),
        nn.Conv2d(32, 32, (1, 3)),
        nn.Conv2d(32, 32, 3, padding="same"),
        nn.Conv2d(32, 32, 3, padding=1, padding_mode="reflect"),
        nn.Conv1d(32, 32, 3),
        nn.ConvTranspose2d(32, 32, 3),
        nn.ReLU(),
    ]
    assert [factorizable(layer) for layer in refused] == [(DENSE,)] * len(refused)


def test_attention_and_tied_layers_are_left_alone() -> None:
    network = nn.ModuleDict({"attention": nn.MultiheadAttention(32, 2), "a": nn.Linear(32, 32), "b": nn.Linear(32, 32)})
    assert list(Factorize.of(network).options) == ["a", "b"]
    network["b"].weight = network["a"].weight
    assert list(Factorize.of(network).options) == []


def test_worthwhile_sees_the_layer_as_it_stands() -> None:
    assert worthwhile(nn.Linear(64, 32), "svd:0.5")
    assert not worthwhile(nn.Linear(64, 1), "svd:0.5")
    assert not worthwhile(nn.Conv2d(256, 16, 3, stride=2), "tucker2:0.25")
