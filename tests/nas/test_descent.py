import pytest
import torch
from torch import nn

from nas.descent import MOMENTUM, WEIGHT_DECAY, Descent, orthogonalised


def trained(module: nn.Module, step: "object", n_steps: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    for _ in range(n_steps):
        inputs = torch.randn(8, 4)
        module(inputs).square().mean().backward()
        step()  # type: ignore[operator]
    return [parameter.detach().clone() for parameter in module.parameters()]


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def test_it_does_what_torchs_own_does() -> None:
    ours, torchs = network(), network()
    descent = Descent(ours)
    weights = [p for p in torchs.parameters() if p.ndim > 1]
    others = [p for p in torchs.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=MOMENTUM, nesterov=True)

    def step() -> None:
        optimizer.step()
        optimizer.zero_grad()

    for mine, wanted in zip(trained(ours, lambda: descent.step(0.1), 6), trained(torchs, step, 6), strict=True):
        torch.testing.assert_close(mine, wanted)


def test_long_gradients_are_shortened() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    (1000 * module(torch.ones(1, 1))).sum().backward()
    Descent(module).step(0.1)
    # A gradient of length 5 in the first step: 0.1 * (5 + 0.9 * 5).
    torch.testing.assert_close(module.weight.detach(), torch.tensor([[-0.95]]), rtol=1e-4, atol=0)


def test_momenta_are_saved_and_taken_over() -> None:
    first, second = network(), network()
    descent = Descent(first)
    trained(first, lambda: descent.step(0.1), 3)
    second.load_state_dict(first.state_dict())
    other = Descent(second)
    other.load_state_dict(descent.state_dict())
    for a, b in zip(
        trained(first, lambda: descent.step(0.1), 2), trained(second, lambda: other.step(0.1), 2), strict=True
    ):
        torch.testing.assert_close(a, b)


def convolution(groups: int = 1) -> nn.Conv2d:
    torch.manual_seed(2)
    return nn.Conv2d(4, 6, 3, groups=groups, bias=False)


def stepped(layer: nn.Conv2d, gradient: torch.Tensor, rate: float) -> torch.Tensor:
    """How the kernel moved in one step."""
    before = layer.weight.detach().clone()
    descent = Descent(layer)
    layer.weight.grad = gradient.clone()
    descent.step(rate)
    assert layer.weight.grad is None
    return layer.weight.detach() - before


def test_kernels_turn_as_with_torchs_muon() -> None:
    layer, gradient = convolution(), torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(3))
    matrix = nn.Parameter(layer.weight.detach().flatten(1).clone())
    matrix.grad = gradient.flatten(1).clone()
    before = matrix.detach().clone()
    torch.optim.Muon([matrix], lr=0.1, momentum=MOMENTUM, weight_decay=0.0).step()  # type: ignore[no-untyped-call]
    moved, wanted = stepped(layer, gradient, 0.1).flatten(1), matrix.detach() - before
    assert torch.cosine_similarity(moved.flatten(), wanted.flatten(), dim=0) > 0.999


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_kernels_move_by_a_share_of_their_length_whatever_the_gradient(scale: float) -> None:
    layer = convolution()
    length = layer.weight.detach().norm()
    moved = stepped(layer, scale * torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(3)), 0.3)
    assert float(moved.norm() / length) == pytest.approx(0.1, rel=1e-4)


def test_a_kernel_of_zeros_moves() -> None:
    layer = convolution()
    nn.init.zeros_(layer.weight)
    assert float(stepped(layer, torch.ones(6, 4, 3, 3), 0.3).norm()) == pytest.approx(0.1 * 0.01 * 6**0.5, rel=1e-4)


def test_grouped_convolutions_descend() -> None:
    moved = stepped(convolution(groups=2), torch.zeros(6, 2, 3, 3), 0.1)
    before = convolution(groups=2).weight.detach()
    torch.testing.assert_close(moved, -0.1 * 1.9 * WEIGHT_DECAY * before, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 9, 4), (1, 64, 80)])
def test_singular_values_become_one_and_their_vectors_stay(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    found = orthogonalised(matrices)
    assert found.dtype == torch.float32
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    values = left.mT @ found @ right.mT
    diagonal = values.diagonal(dim1=1, dim2=2)
    assert diagonal.min() > 0.6
    assert diagonal.max() < 1.3
    torch.testing.assert_close(values, torch.diag_embed(diagonal), rtol=0, atol=0.03)
