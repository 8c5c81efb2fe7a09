"""Closed-form weights at a layer's own shape, against least squares on the inputs themselves."""

import pytest
import torch
from torch import nn

from search_spaces.factorize import factors
from search_spaces.masked import factorized, lost_share, without

GENERATOR = torch.Generator().manual_seed(0)


def test_columns_that_stay_are_refitted() -> None:
    x = torch.randn(500, 5, generator=GENERATOR) @ torch.randn(5, 5, generator=GENERATOR)
    weight = torch.randn(2, 5, generator=GENERATOR)
    gone = torch.tensor([1, 4]).numpy()
    got = without(weight, x.T @ x / 500, gone)
    assert got[:, [1, 4]].abs().max() == 0
    best = torch.linalg.lstsq(x[:, [0, 2, 3]], x @ weight.T).solution.T
    error, least = ((x @ (w - weight).T).square().mean() for w in (got, _spread(best)))
    assert least <= error < 1.01 * least


def _spread(columns: torch.Tensor) -> torch.Tensor:
    full = torch.zeros(2, 5)
    full[:, [0, 2, 3]] = columns
    return full


def test_nothing_is_lost_with_columns_that_repeat_others() -> None:
    gram = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    weight = torch.tensor([[1.0, 2.0]])
    got = without(weight, gram, torch.tensor([1]).numpy())
    torch.testing.assert_close(got, torch.tensor([[3.0, 0.0]]), atol=1e-2, rtol=0)
    assert lost_share(weight, got, gram) < 1e-4
    assert lost_share(weight, torch.zeros(1, 2), gram) == pytest.approx(1.0)


@pytest.mark.parametrize("choice", ["tucker2:0.5", "tucker2:0.25", "spatial:0.5", "spatial:0.25"])
def test_a_convolutions_factors_lose_no_more_than_before_they_are_refitted(choice: str) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 24, 3, padding=1, bias=False)
    x = torch.randn(40, 16, 8, 8, generator=GENERATOR)
    rows = nn.functional.unfold(x, 3, padding=1).transpose(1, 2).flatten(0, 1)
    gram = rows.T @ rows / len(rows)
    weight = layer.weight.detach()
    got = factorized(weight, choice, gram)
    with torch.no_grad():
        wanted, truncated = layer(x), factors(layer, choice)(x)
        refitted = nn.functional.conv2d(x, got.view_as(weight), padding=1)
    share = float((refitted - wanted).square().sum() / wanted.square().sum())
    assert share == pytest.approx(lost_share(weight.flatten(1), got, gram), rel=1e-3)
    assert share <= 1.001 * float((truncated - wanted).square().sum() / wanted.square().sum())
    assert share > 0.01


def test_a_linear_layer_at_full_rank_loses_nothing() -> None:
    weight = torch.randn(6, 9, generator=GENERATOR)
    gram = torch.eye(9)
    torch.testing.assert_close(factorized(weight, "svd:1.0", gram), weight, atol=2e-2, rtol=0)
    half = factorized(weight, "svd:0.5", gram)
    assert torch.linalg.matrix_rank(half, atol=1e-3) == 3
