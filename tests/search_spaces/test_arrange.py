"""Memory formats change where numbers lie and nothing else."""

import torch
from torch import nn

from search_spaces.arrange import arranged, channels_last

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
