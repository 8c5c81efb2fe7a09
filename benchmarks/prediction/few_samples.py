"""How well a device is predicted from a few samples: rank correlation, relative errors, coverage."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from latency_models.predict.choosing import choose
from latency_models.predict.learned import learn_table
from latency_models.predict.predictor import Predicted
from latency_models.predict.regressed import LEAST, Regressed, regress
from prediction.public_data import Space, Task

Array = NDArray[np.float64]
SOURCE_SHARE = 5
"""One architecture in so many is held out where a regression on all the others is asked how far one can get."""


@dataclass(frozen=True)
class Outcome:
    """One predictor on the architectures that it was not shown.

    Attributes:
        task, target, seed, n_samples: what was asked.
        spearman: rank correlation of predicted and measured latencies.
        within_10, within_5: share of predictions within 10 and 5 % of the measured latency.
        covered: share of latencies within the 90 % intervals.
        flagged: share of networks said to be out of range.
    """

    task: str
    target: str
    seed: int
    n_samples: int
    spearman: float
    within_10: float
    within_5: float
    covered: float
    flagged: float


def source_predictors(space: Space, devices: Sequence[str]) -> dict[str, Regressed]:
    """What the product makes of devices' tables; devices that are not in the tables are left out."""
    found = {}
    for device in devices:
        if device in space.latencies:
            known, seconds = space.seconds(device)
            found[device] = regress(space.table.rows(known), seconds, device)
    return found


def few_samples(space: Space, task: Task, target: str, seed: int, n: int, sources: Sequence[Regressed]) -> Outcome:
    """A target from `n` samples that the product's own chooser picks without having seen a latency of the target."""
    known, seconds = space.seconds(target)
    table = space.table.rows(known)
    picked = np.array(choose(table, n, seed, sources))
    learned = learn_table(table.rows(picked), seconds[picked], target, sources=sources, around=table)
    left = np.setdiff1d(np.arange(len(known)), picked)
    return judged(task.name, target, seed, n, learned.predict(table.rows(left)), seconds[left])


def of_all(space: Space, device: str) -> Outcome:
    """How far the same features get with all other architectures measured (four fifths of them)."""
    known, seconds = space.seconds(device)
    shuffled = np.random.default_rng(0).permutation(len(known))
    left, rest = np.split(shuffled, [len(known) // SOURCE_SHARE])
    if len(rest) < LEAST:
        raise ValueError(f"{device} was measured on too few architectures")
    table = space.table.rows(known)
    predicted = regress(table.rows(rest), seconds[rest], device).predict(table.rows(left))
    return judged("all", device, 0, len(rest), predicted, seconds[left])


@dataclass(frozen=True)
class Noise:
    """What isomorphic cells, which compute the same, show of a device's noise.

    Attributes:
        n_pairs: of cells that do the same work, dead branches included.
        spearman: the rank correlation that a perfect prediction would have: the square root of the correlation
            between the two of a pair (Spearman 1904, attenuation).
        within_10: share of pairs within 10 % of each other.
    """

    n_pairs: int
    spearman: float
    within_10: float


def noise(space: Space, device: str, seed: int = 0) -> Noise | None:
    """The noise of a device; None where no two architectures do the same."""
    known, seconds = space.seconds(device)
    groups: dict[tuple[str, bytes], list[int]] = {}
    work = np.hstack([space.table.columns, space.table.removed, space.table.whole])[known]
    for i, number in enumerate(known):
        if space.forms[number]:
            groups.setdefault((space.forms[number], work[i].tobytes()), []).append(i)
    generator = np.random.default_rng(seed)
    pairs = np.array([generator.permutation(one)[:2] for one in groups.values() if len(one) > 1])
    if len(pairs) < LEAST:
        return None
    first, second = seconds[pairs[:, 0]], seconds[pairs[:, 1]]
    correlation = max(0.0, float(spearmanr(first, second)[0]))
    return Noise(len(pairs), correlation**0.5, float((np.abs(first / second - 1) <= 0.1).mean()))


def mean_of(outcomes: Sequence[Outcome], value: Callable[[Outcome], float]) -> float:
    """The mean over targets of the mean over seeds."""
    targets = dict.fromkeys(one.target for one in outcomes)
    return float(np.mean([np.mean([value(one) for one in outcomes if one.target == name]) for name in targets]))


def judged(task: str, target: str, seed: int, n: int, predicted: Predicted, seconds: Array) -> Outcome:
    """Predictions held against measured latencies."""
    off = np.abs(predicted.seconds / seconds - 1)
    return Outcome(
        task=task,
        target=target,
        seed=seed,
        n_samples=n,
        spearman=float(spearmanr(predicted.seconds, seconds)[0]),
        within_10=float((off <= 0.1).mean()),
        within_5=float((off <= 0.05).mean()),
        covered=float(((predicted.low_s <= seconds) & (seconds <= predicted.high_s)).mean()),
        flagged=float(predicted.out_of_range.mean()),
    )
