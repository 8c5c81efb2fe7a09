"""Memory formats change where numbers lie and nothing else; rounded products are near the exact ones."""

import pytest
import torch
from torch import nn

from search_spaces.arrange import N_COLUMNS, arranged, channels_last, product, squares

IMAGES = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).view(2, 3, 4, 5)


def test_images_get_their_channels_side_by_side_and_nothing_else_changes() -> None:
    rows = torch.ones(2, 3)
    images, same = channels_last((IMAGES, rows))
    assert images.stride() == (60, 1, 15, 3)
    assert torch.equal(images, IMAGES)
    assert same is rows
    assert IMAGES.stride() == (60, 20, 5, 1)


def test_weights_are_arranged_in_place_and_back() -> None:
    module = nn.Sequential(nn.Conv2d(3, 2, 2), nn.Linear(4, 4))
    layer = module[0]
    assert isinstance(layer, nn.Conv2d)
    before = layer.weight.detach().clone()
    assert arranged(module, torch.channels_last) is module
    assert layer.weight.stride() == (12, 1, 6, 3)
    assert torch.equal(layer.weight, before)
    arranged(module, torch.contiguous_format)
    assert layer.weight.stride() == (12, 4, 2, 1)


@pytest.mark.parametrize("n_groups", [1, 3])
@pytest.mark.parametrize("rounded", [False, True])
def test_products_and_squares(n_groups: int, rounded: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(n_groups, 64, N_COLUMNS + 8, generator=generator)
    right = torch.randn(n_groups, N_COLUMNS + 8, 5, generator=generator)
    off = 0.02 * N_COLUMNS**0.5 if rounded else 1e-4
    torch.testing.assert_close(product(rows, right, rounded), torch.bmm(rows, right), rtol=0, atol=off)
    found = squares(rows, rounded)
    torch.testing.assert_close(found, torch.bmm(rows.transpose(1, 2), rows), rtol=0, atol=off)
    assert torch.equal(found, found.transpose(1, 2))


def test_the_users_setting_for_products_is_left_as_it_was() -> None:
    setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = setting.fp32_precision
    product(torch.ones(1, 2, 2), torch.ones(1, 2, 2), rounded=True)
    with pytest.raises(RuntimeError):
        product(torch.ones(1, 2, 2), torch.ones(1, 3, 2), rounded=True)
    assert setting.fp32_precision == before
