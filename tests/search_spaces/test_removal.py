import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces.coupling import ChannelGroup, Member
from search_spaces.removal import DAMPING, Consumer, consumers_of, removal_order


def single(weight: Tensor, gram: Tensor) -> Consumer:
    return Consumer(weight, gram, np.arange(len(gram))[:, None])


def test_independent_units_go_by_their_energy() -> None:
    consumer = single(torch.tensor([[1.0, 1.0, 1.0]]), torch.diag(torch.tensor([4.0, 1.0, 9.0])))
    order, losses = removal_order([consumer], 3)
    assert order.tolist() == [1, 0, 2]
    ridge = DAMPING * 14 / 3
    np.testing.assert_allclose(losses, np.array([1 + ridge, 5 + 2 * ridge, 14 + 3 * ridge]) / 14, rtol=1e-6)


def test_a_duplicate_goes_first_however_large() -> None:
    gram = torch.tensor([[9.0, 9.0, 0.0], [9.0, 9.0, 0.0], [0.0, 0.0, 1.0]])
    order, losses = removal_order([single(torch.ones(1, 3), gram)], 3)
    assert order.tolist() == [0, 2, 1]
    assert losses[0] < 0.01


def test_consumers_count_alike_whatever_their_scale() -> None:
    gram = torch.diag(torch.tensor([1.0, 2.0]))
    small = single(torch.tensor([[3.0, 1.0]]), gram * 1e-4)
    large = single(torch.tensor([[1.0, 1.0]]), gram * 1e4)
    # Shares lost with unit 0: 9/11 + 1/3 = 1.15; with unit 1: 2/11 + 2/3 = 0.85.
    assert removal_order([large], 2)[0].tolist() == [0, 1]
    assert removal_order([small, large], 2)[0].tolist() == [1, 0]


def exact_loss(consumer: Consumer, gone: tuple[int, ...]) -> float:
    """Share of the output energy that is lost when the other columns are solved for anew."""
    weight, gram = consumer.weight.double().numpy(), consumer.gram.double().numpy()
    damped = gram + (DAMPING * gram.diagonal().mean() + 1e-12) * np.eye(len(gram))
    removed = consumer.columns[list(gone)].ravel()
    left = np.setdiff1d(np.arange(len(gram)), removed)
    change = np.zeros_like(weight)
    change[:, removed] = -weight[:, removed]
    rest = np.linalg.solve(damped[np.ix_(left, left)], damped[np.ix_(left, removed)] @ -change[:, removed].T)
    change[:, left] = rest.T
    return float(np.trace(change @ damped @ change.T) / np.trace(weight @ gram @ weight.T))


@pytest.mark.parametrize("seed", range(6))
def test_each_step_is_the_best_of_all_exact_solutions(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    n_units, consumers = 6, []
    for k, n_outputs in ((1, 3), (2, 4)):
        n = n_units * k
        rows = torch.randn(40, n, generator=generator) @ torch.randn(n, n, generator=generator)
        columns = torch.randperm(n, generator=generator).view(n_units, k).numpy()
        weight = torch.randn(n_outputs, n_units * k, generator=generator)
        consumers.append(Consumer(weight, rows.T @ rows / 40, columns))
    order, losses = removal_order(consumers, n_units)
    for step in range(n_units - 1):
        before = tuple(order[:step].tolist())
        total = {
            unit: sum(exact_loss(consumer, (*before, unit)) for consumer in consumers)
            for unit in range(n_units)
            if unit not in before
        }
        assert min(total, key=total.__getitem__) == order[step]
        assert losses[step] == pytest.approx(total[int(order[step])] / 2, rel=1e-6)


def test_greedy_is_near_the_best_of_all_pairs() -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(60, 7, generator=generator)
    consumer = single(torch.randn(2, 7, generator=generator), rows.T @ rows / 60)
    order, losses = removal_order([consumer], 7)
    best = min(exact_loss(consumer, pair) for pair in itertools.combinations(range(7), 2))
    assert best <= losses[1] * (1 + 1e-9)
    assert sorted(order.tolist()) == list(range(7))


def test_a_grouped_convolution_is_one_problem_a_group() -> None:
    layer = nn.Sequential(nn.Conv1d(4, 6, 3, groups=2))
    features = np.array([[0, 2], [1, 3]])
    group = ChannelGroup("x", 4, 2, (Member("0", "in", features),))
    problems = consumers_of(group, layer, {"0": torch.eye(6).repeat(2, 1, 1)})
    assert [tuple(problem.weight.shape) for problem in problems] == [(3, 6), (3, 6)]
    assert [problem.columns.tolist() for problem in problems] == [[[0, 1, 2], [3, 4, 5]]] * 2
    assert consumers_of(group, layer, {}) == []
