import pytest
import torch
from torch import nn
from torch.nn import functional

import search_spaces.statistics as statistics_module
from search_spaces.statistics import Layer, collect, gram_of, input_rows, matrix_of
from tests.search_spaces.networks import build

CONVOLUTIONS = [
    nn.Conv2d(3, 4, 3),
    nn.Conv2d(3, 4, (2, 3), stride=(2, 1), padding=(1, 2)),
    nn.Conv2d(4, 6, 3, padding=2, dilation=2, groups=2),
    nn.Conv2d(3, 4, 2, padding="same"),
    nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
    nn.Conv2d(4, 4, 3, groups=4, bias=False),
    nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2),
    nn.Conv1d(3, 2, 3, dilation=3, padding=2, padding_mode="circular"),
    nn.Linear(7, 5),
]


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
@torch.no_grad()
def test_rows_times_weight_is_the_layer(layer: Layer) -> None:
    torch.manual_seed(0)
    if isinstance(layer, nn.Linear):
        inputs = torch.randn(4, 3, 2, 7)
        answers = layer(inputs).reshape(4, -1, 5)
        groups = 1
    else:
        shape = (9, 8) if isinstance(layer, nn.Conv2d) else (11,)
        inputs = torch.randn(4, layer.in_channels, *shape)
        answers = layer(inputs).flatten(2).transpose(1, 2)
        groups = layer.groups
    samples = torch.tensor([3, 0, 1, 1, 2])
    positions = torch.tensor([0, answers.shape[1] - 1, 2, 1, 3])
    rows = input_rows(layer, inputs, samples, positions)
    parts = zip(rows.chunk(groups, 1), matrix_of(layer).chunk(groups), strict=True)
    got = torch.cat([x @ weight.T for x, weight in parts], 1) + (0 if layer.bias is None else layer.bias)
    torch.testing.assert_close(got, answers[samples, positions], rtol=1e-4, atol=1e-5)


def test_rows_are_columns_of_unfold() -> None:
    layer = nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 1))
    inputs = torch.randn(3, 2, 7, 6)
    columns = functional.unfold(inputs, (3, 2), (2, 1), (2, 1), (1, 2)).transpose(1, 2)
    samples, positions = torch.tensor([2, 0, 1, 2]), torch.tensor([0, 5, 9, columns.shape[1] - 1])
    taps_first = columns[samples, positions].view(4, 2, 6).transpose(1, 2).flatten(1)
    assert torch.equal(input_rows(layer, inputs, samples, positions), taps_first)
    flat = input_rows(nn.Linear(6, 1), inputs, samples, torch.tensor([0, 13, 7, 8]))
    assert torch.equal(flat, inputs[samples, torch.tensor([0, 1, 1, 1]), torch.tensor([0, 6, 0, 1])])


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_the_gram_matrix_is_in_the_order_of_the_weight(layer: Layer) -> None:
    """The energy of the answers is what the weight makes of the Gram matrix."""
    torch.manual_seed(0)
    groups = getattr(layer, "groups", 1)
    n_features = groups * layer.weight[0].numel()
    rows = torch.randn(50, n_features)
    gram = gram_of(layer, rows, rounded=False)
    weight = layer.weight.detach().flatten(1).view(groups, -1, layer.weight[0].numel())
    with torch.no_grad():
        parts = zip(rows.chunk(groups, 1), matrix_of(layer).chunk(groups), strict=True)
        wanted = [float((x @ matrix.T).square().sum()) / 50 for x, matrix in parts]
    assert (weight @ gram * weight).sum((1, 2)).tolist() == pytest.approx(wanted, rel=1e-4)


def test_collect_keeps_the_answers_of_layers_that_run_once() -> None:
    teacher, inputs = build("shared")
    calls: list[str] = []
    statistics = collect(teacher, inputs, torch.Generator().manual_seed(0), lambda path, *_: calls.append(path))
    assert set(statistics.rows) == {"first", "after", "head"}
    assert calls == ["first", "twice", "after", "head"]
    rows = statistics.rows["head"]
    assert rows.outputs.shape == (48, 3)
    assert sorted(rows.samples.tolist()) == list(range(48))
    assert torch.equal(rows.outputs, statistics.outputs[rows.samples])
    with torch.no_grad():
        torch.testing.assert_close(statistics.outputs, teacher(*inputs))
    assert not any(module._forward_hooks for module in teacher.modules())


def test_layers_that_share_a_weight_have_no_rows() -> None:
    teacher, inputs = build("tied")
    assert set(collect(teacher, inputs, torch.Generator()).rows) == {"c", "head"}


class Sensitive(nn.Module):
    """Answers by a small difference of large numbers, or cannot have its channels side by side."""

    def __init__(self, views: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Linear(4, 2)
        self.views = views

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        y = y.view(len(x), -1)[:, :4] if self.views else (1000 + y.mean((2, 3))) - 1000
        answer: torch.Tensor = self.second(y)
        return answer


@pytest.mark.parametrize("views", [True, False])
def test_a_network_is_run_in_no_way_that_changes_its_answers(monkeypatch: pytest.MonkeyPatch, views: bool) -> None:
    monkeypatch.setattr(statistics_module, "has_bfloat16", lambda: True)
    torch.manual_seed(0)
    teacher, inputs = Sensitive(views).eval(), (torch.randn(8, 1, 6, 6),)
    found = collect(teacher, inputs, torch.Generator())
    assert (found.channels_last, found.bfloat16) == (not views, views)
    with torch.no_grad():
        torch.testing.assert_close(found.outputs, teacher(*inputs), rtol=1e-3, atol=1e-4)


def test_without_bfloat16_in_the_processor_it_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_module, "has_bfloat16", lambda: False)
    teacher, inputs = build("shared")
    assert not collect(teacher, inputs, torch.Generator()).bfloat16
