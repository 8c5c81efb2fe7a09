import torch
from torch import nn

from search_spaces.cost import LayerCost, cost


def test_literal_values() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.Conv2d(8, 4, 1),
        nn.Flatten(),
        nn.Linear(64, 10),
    ).eval()
    found = cost(network, (torch.zeros(5, 3, 8, 8),))
    assert found.layers == (
        LayerCost("0", "conv", 3, 8, 9, 1, 16, 64),
        LayerCost("2", "depthwise", 8, 8, 9, 8, 16, 16),
        LayerCost("3", "pointwise", 8, 4, 1, 1, 16, 16),
        LayerCost("5", "linear", 64, 10, 1, 1, 1, 1),
    )
    assert [layer.n_macs for layer in found.layers] == [3456, 1152, 512, 640]
    assert found.n_macs == 5760
    assert found.n_parameters == (216 + 8) + 16 + 72 + (32 + 4) + 650
    assert found.peak_elements == 3 * 64 + 8 * 16


def test_each_run_counts() -> None:
    layer = nn.Linear(4, 4)
    found = cost(nn.Sequential(layer, nn.ReLU(), layer).eval(), (torch.zeros(2, 3, 4),))
    assert [(run.path, run.n_positions) for run in found.layers] == [("0", 3), ("0", 3)]
    assert found.n_parameters == 20
