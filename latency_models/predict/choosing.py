"""What to measure next: the networks whose latencies tell most about all the others.

Greedily the one that lowers the summed variance of the others most (active learning after Cohn 1996; Krause et al. 2008
for the greedy choice). The process's variances do not depend on the latencies, so a whole set can be chosen before any
is measured.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from latency_models.predict.features import Table
from latency_models.predict.learned import Learned, blocks_of, scalings_of
from latency_models.predict.process import Gram, Settings, usual
from latency_models.predict.regressed import Regressed
from latency_models.predict.scaling import scaled

N_POOL, N_REFERENCE = 600, 400
"""Networks that are weighed as candidates, and that the gain is summed over, at most; drawn at random."""
SMOOTHER = 0.3
"""Times the usual variance of curved terms where other devices' predictors are features."""

Array = NDArray[np.float64]


def choose(
    candidates: Table,
    n: int,
    seed: int,
    sources: Sequence[Regressed] = (),
    measured: Table | None = None,
    learned: Learned | None = None,
) -> tuple[int, ...]:
    """Positions of the networks to measure next, in order.

    Args:
        candidates: networks that may be asked for.
        n: how many to choose; no more than there are candidates.
        seed: of what is drawn where there are many candidates.
        sources: other devices' predictors, which networks can differ by too.
        measured: what has been measured before.
        learned: from those, where there is one: its hyper-parameters tell better what matters.

    Raises:
        ValueError: more are asked for than there are.
    """
    if n > len(candidates):
        raise ValueError(f"{n} of {len(candidates)} networks cannot be chosen")
    generator = np.random.default_rng(seed)
    pool = np.sort(generator.permutation(len(candidates))[: max(n, N_POOL)])
    reference = np.sort(generator.permutation(len(candidates))[:N_REFERENCE])
    if learned is None:
        scalings = scalings_of(blocks_of(candidates, sources))
        settings = smoother(usual(len(scalings))) if sources else usual(len(scalings))
    else:
        settings = learned.rest.settings

    def blocks_for(table: Table) -> tuple[Array, ...]:
        return scaled(scalings, blocks_of(table, sources)) if learned is None else learned.blocks(table)

    blocks = blocks_for(candidates)
    own, others = [one[pool] for one in blocks], [one[reference] for one in blocks]
    among, towards = Gram.of(own, own).covariance(settings), Gram.of(others, own).covariance(settings)
    noise = math.exp(settings.noise)
    if measured is not None and len(measured):
        before = blocks_for(measured)
        known = Gram.of(before, before).covariance(settings) + noise * np.eye(len(measured))
        link, far = Gram.of(before, own).covariance(settings), Gram.of(before, others).covariance(settings)
        solved = np.linalg.solve(known, link)
        among, towards = among - link.T @ solved, towards - far.T @ solved
    return tuple(int(pool[i]) for i in _greedy(among, towards, noise, n))


def smoother(settings: Settings) -> Settings:
    """The same with less weight on curved terms: of the logarithms that other devices' predictors say, a latency's is
    nearly a linear function."""
    return replace(settings, curve=tuple(one + math.log(SMOOTHER) for one in settings.curve))


def _greedy(among: Array, towards: Array, noise: float, n: int) -> list[int]:
    """Positions in order of their gain.

    Args:
        among: (p, p) covariance of the candidates.
        towards: (r, p) covariance of the reference and the candidates.
        noise: variance of a measurement.
        n: how many.
    """
    chosen: list[int] = []
    for _ in range(n):
        gain = np.square(towards).sum(0) / (np.maximum(np.diag(among), 0) + noise)
        gain[chosen] = -1.0
        best = int(gain.argmax())
        chosen.append(best)
        root = math.sqrt(max(float(among[best, best]), 0.0) + noise)
        column, effect = among[:, best] / root, towards[:, best] / root
        towards = towards - np.outer(effect, column)
        among = among - np.outer(column, column)
    return chosen
