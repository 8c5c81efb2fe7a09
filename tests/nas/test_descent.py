import torch
from torch import nn

from nas.descent import MOMENTUM, WEIGHT_DECAY, Descent


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
