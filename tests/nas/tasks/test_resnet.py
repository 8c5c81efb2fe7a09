"""The network of the built-in teachers."""

import torch
from torch import nn

from nas.tasks.resnet import ResNet


def test_shapes_and_places_of_the_shortcuts() -> None:
    module = ResNet((4, 8), (2, 2), n_in=3, n_classes=5).eval()
    assert module(torch.zeros(2, 3, 8, 8)).shape == (2, 5)
    assert module.blocks(torch.zeros(1, 4, 8, 8)).shape == (1, 8, 4, 4)
    assert [isinstance(block.shortcut, nn.Identity) for block in module.blocks] == [True, True, False, True]
