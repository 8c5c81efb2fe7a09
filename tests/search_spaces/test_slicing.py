import numpy as np
import pytest
import torch
from torch import nn

from search_spaces.slicing import Keep, is_depthwise, n_features, slice_layer, slice_modules

TWO = np.array([0, 2])


@torch.no_grad()
def test_outputs_are_those_of_the_kept_rows() -> None:
    for layer, x in (
        (nn.Conv2d(3, 4, 3), torch.randn(2, 3, 5, 5)),
        (nn.Conv1d(3, 4, 3, bias=False), torch.randn(2, 3, 5)),
        (nn.Linear(3, 4), torch.randn(2, 3)),
    ):
        wanted = layer(x)[:, TWO]
        slice_layer(layer, Keep(outputs=TWO))
        torch.testing.assert_close(layer(x), wanted)
        assert n_features(layer, "out") == 2


@torch.no_grad()
def test_cutting_inputs_is_masking_them() -> None:
    for layer, x in (
        (nn.Conv2d(3, 4, 3), torch.randn(2, 3, 5, 5)),
        (nn.Conv1d(3, 4, 3), torch.randn(2, 3, 5)),
        (nn.Linear(3, 4, bias=False), torch.randn(2, 3)),
    ):
        masked = x.clone()
        masked[:, 1] = 0
        wanted = layer(masked)
        slice_layer(layer, Keep(inputs=TWO))
        torch.testing.assert_close(layer(x[:, TWO]), wanted)
        assert n_features(layer, "in") == 2


@torch.no_grad()
def test_a_grouped_convolution_loses_the_same_in_every_group() -> None:
    layer, x = nn.Conv2d(6, 6, 3, groups=2), torch.randn(2, 6, 4, 4)
    masked = x.clone()
    masked[:, [1, 4]] = 0
    wanted = layer(masked)[:, [0, 1, 3, 4]]
    slice_layer(layer, Keep(np.array([0, 1, 3, 4]), np.array([0, 2, 3, 5])))
    torch.testing.assert_close(layer(x[:, [0, 2, 3, 5]]), wanted)
    assert (layer.in_channels, layer.out_channels, layer.groups) == (4, 4, 2)


@torch.no_grad()
def test_layers_that_carry_channels() -> None:
    x = torch.randn(2, 3, 4, 4)
    norm = nn.BatchNorm2d(3).eval()
    norm.running_mean, norm.running_var = torch.rand(3), torch.rand(3) + 0.5
    bare = nn.BatchNorm2d(3, affine=False).eval()
    depthwise = nn.Conv2d(3, 3, 3, groups=3)
    for layer in (norm, bare, depthwise, nn.PReLU(3), nn.PReLU()):
        if isinstance(layer, nn.PReLU):
            nn.init.uniform_(layer.weight)
        wanted = layer(x)[:, TWO]
        slice_layer(layer, Keep(outputs=TWO))
        torch.testing.assert_close(layer(x[:, TWO]), wanted)
    assert (depthwise.groups, depthwise.in_channels, depthwise.out_channels) == (2, 2, 2)
    assert norm.num_features == bare.num_features == 2
    assert is_depthwise(depthwise)
    assert not is_depthwise(nn.Conv2d(3, 6, 3, groups=3))


def test_a_frozen_layer_stays_frozen() -> None:
    layer = nn.Conv2d(3, 4, 3).requires_grad_(False)
    slice_layer(layer, Keep(TWO, TWO))
    assert [parameter.requires_grad for parameter in layer.parameters()] == [False, False]


def test_missing_paths_are_passed_over() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Identity())
    slice_modules(network, {"0": Keep(TWO), "1.inner": Keep(TWO)})
    assert network[0].out_features == 2
    assert type(network[1]) is nn.Identity


def test_other_layers_are_refused() -> None:
    with pytest.raises(TypeError, match="LayerNorm cannot be cut"):
        slice_layer(nn.LayerNorm(4), Keep(TWO))
