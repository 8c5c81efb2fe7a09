"""A predictor from a few dozen measured networks: a sum over kernels, and a Gaussian process for what it leaves over.

The process works on log-latency and sees a network's totals, which kernels run where, what it spends its time on
(`embedding`), and what other devices' predictors say of it; where samples are few, likely hyper-parameters are averaged
over (`averaged`). Intervals are calibrated on samples that were left out, additive part and hyper-parameters found anew
each time (jackknife+ in spirit: Barber et al. 2021, "Predictive inference with the jackknife+").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from latency_models.predict.additive import KernelRows, Rates, kernel_rows, learn_rates
from latency_models.predict.averaged import Averaged, average
from latency_models.predict.costs import KernelCosts, learn_costs
from latency_models.predict.embedding import Embedding, Mean, embedding_of
from latency_models.predict.features import MEASURES, N_MEASURES, Table, alone, counts, table_of, totals
from latency_models.predict.kernels import Kernel
from latency_models.predict.predictor import CONFIDENCE, Predicted, Sample, beyond, check_seconds
from latency_models.predict.regressed import Regressed, source_logarithms
from latency_models.predict.scaling import Scaling, scaled
from latency_models.predict.summed import Summed, learn_summed, sums_of
from latency_models.predict.within import shares, transferred

Array = NDArray[np.float64]

LEAST = 5
"""Measured networks."""
N_FOLDS = 20
REFIT_STEPS = 12
"""Of the search for hyper-parameters where a fold is left out."""
SLACK = 0.25
"""How far beyond the measured networks a network may lie, as a share of their range."""


@final
@dataclass(frozen=True)
class Learned:
    """Satisfies `Predictor`.

    Attributes:
        target, environment, known_error: see `Predictor`.
        mean: the additive part: rates of families of kernels, or where kernels were timed the sum of their costs.
        scalings: of the process's blocks.
        rest: the process.
        embedding: of networks by what they spend their time on, where it is known.
        sources: other devices' predictors, which are features.
        width: half an interval in standard deviations of the process.
        lowest, highest: (11,) of the logarithms of the measured networks' `totals`.
        seen: columns of `features` that the measured networks have kernels for.
        of_others: whether the measured networks are of other teachers. How those differ in size and kernels says little
            of this one, so that the process sees the embedding alone: which kernels take more or less than they should.
    """

    target: str
    mean: Mean
    scalings: tuple[Scaling, ...]
    rest: Averaged
    embedding: Embedding | None
    sources: tuple[Regressed, ...]
    width: float
    lowest: Array
    highest: Array
    seen: tuple[int, ...]
    known_error: float
    of_others: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    def predict(self, table: Table) -> Predicted:
        """See `Predictor.predict`."""
        means, deviations = self.rest.predict(self.blocks(table))
        logs = np.log(self.mean.seconds(table)) + means
        ends = np.maximum(self.width * deviations, 1e-6)
        outside = beyond(np.log1p(totals(table)), self.lowest, self.highest, SLACK)
        new = np.setdiff1d(np.arange(0, table.columns.shape[1], N_MEASURES), self.seen)
        outside |= (table.columns[:, new] > 0).any(1)
        return Predicted(np.exp(logs), np.exp(logs - ends), np.exp(logs + ends), outside)

    def blocks(self, table: Table) -> tuple[Array, ...]:
        """What the process sees of networks."""
        return scaled(self.scalings, blocks_of(table, self.sources, self.embedding, self.of_others))

    def to_json(self) -> dict[str, Any]:
        """See `Predictor.to_json`."""
        return {
            "kind": "learned",
            "target": self.target,
            "environment": dict(self.environment),
            "mean": {"kind": "summed" if isinstance(self.mean, Summed) else "rates", **self.mean.to_json()},
            "scalings": [one.to_json() for one in self.scalings],
            "rest": self.rest.to_json(),
            "embedding": None if self.embedding is None else self.embedding.to_json(),
            "sources": [one.to_json() for one in self.sources],
            "width": self.width,
            "lowest": self.lowest.tolist(),
            "highest": self.highest.tolist(),
            "seen": list(self.seen),
            "known_error": self.known_error,
            "of_others": self.of_others,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Learned":
        """Inverse of `to_json`."""
        kinds: dict[str, type[Summed] | type[Rates]] = {"summed": Summed, "rates": Rates}
        mean = kinds[values["mean"]["kind"]].from_json(values["mean"])
        embedding = values["embedding"]
        return cls(
            target=str(values["target"]),
            mean=mean,
            scalings=tuple(Scaling.from_json(one) for one in values["scalings"]),
            rest=Averaged.from_json(values["rest"]),
            embedding=None if embedding is None else Embedding.from_json(embedding, mean),
            sources=tuple(Regressed.from_json(one) for one in values["sources"]),
            width=float(values["width"]),
            lowest=np.array(values["lowest"], dtype=np.float64),
            highest=np.array(values["highest"], dtype=np.float64),
            seen=tuple(int(i) for i in values["seen"]),
            known_error=float(values["known_error"]),
            of_others=bool(values["of_others"]),
            environment={str(key): str(value) for key, value in values["environment"].items()},
        )


def learn(
    samples: Sequence[Sample],
    target: str,
    environment: Mapping[str, str] | None = None,
    sources: Sequence[Regressed] = (),
    around: Table | None = None,
    singles: Sequence[Sequence[tuple[Kernel, float]]] = (),
) -> Learned:
    """The predictor of a target from measured networks.

    Args:
        samples: what was measured, at least five networks.
        target: label.
        environment: of the measurements.
        sources: other devices' predictors.
        around: networks like those that will be asked for, e.g. candidates of a search; by default the samples.
        singles: of networks that were not measured as a whole their timed kernels and seconds.

    Raises:
        LatencyError: too few samples, or one that is no latency.
    """
    seconds = np.array([one.seconds for one in samples], dtype=np.float64)
    table = table_of(one.network for one in samples)
    timed = [one for one in samples if one.kernel_s]
    kernels: KernelRows | KernelCosts | None = (
        learn_costs(transferred(timed, singles), levelled=False) if singles else learn_costs(shares(timed))
    )
    if kernels is None:
        kernels = kernel_rows(
            [alone(kernel for kernel, _ in one.kernel_s) for one in timed],
            [np.array([value for _, value in one.kernel_s]) for one in timed],
            [one.seconds for one in timed],
        )
    return learn_table(table, seconds, target, environment, sources, around, kernels, of_others=bool(singles))


def learn_table(
    table: Table,
    seconds: Array,
    target: str,
    environment: Mapping[str, str] | None = None,
    sources: Sequence[Regressed] = (),
    around: Table | None = None,
    kernels: KernelRows | KernelCosts | None = None,
    of_others: bool = False,
) -> Learned:
    """As `learn`, from networks that are numbers already; `of_others`: see `Learned`."""
    check_seconds(seconds, LEAST)
    if isinstance(kernels, KernelRows):
        check_seconds(kernels.seconds, 1)
    means = _Means(table, seconds, kernels)
    mean = means.of(np.arange(len(seconds)))
    embedding = embedding_of(mean, table)
    own = blocks_of(table, sources, embedding, of_others)
    wanted = own if around is None else blocks_of(around, sources, embedding, of_others)
    scalings = scalings_of(wanted, embedding is not None)
    blocks = scaled(scalings, own)
    generator = np.random.default_rng(0)
    rest = average(blocks, np.log(seconds) - means.logs(mean), generator)
    errors, deviations = _left_out(means, blocks, rest, generator)
    extremes = np.log1p(totals(table))
    calls = range(0, table.columns.shape[1], N_MEASURES)
    assert MEASURES[0] == "calls"
    return Learned(
        target=target,
        mean=mean,
        scalings=scalings,
        rest=rest,
        embedding=embedding,
        sources=tuple(sources),
        width=interval_width(errors / deviations),
        lowest=extremes.min(0),
        highest=extremes.max(0),
        seen=tuple(i for i in calls if table.columns[:, i].any()),
        known_error=float(np.expm1(np.median(np.abs(errors)))),
        of_others=of_others,
        environment=dict(environment or {}),
    )


@final
class _Means:
    """The additive part of some of the samples.

    Args:
        table, seconds: all samples.
        kernels: what is known of single kernels.
    """

    def __init__(self, table: Table, seconds: Array, kernels: KernelRows | KernelCosts | None) -> None:
        self.table, self.seconds, self._kernels = table, seconds, kernels
        self._sums = sums_of(kernels, table) if isinstance(kernels, KernelCosts) else None

    def of(self, kept: NDArray[np.int64]) -> Mean:
        """Of the samples with these numbers."""
        if isinstance(self._kernels, KernelCosts):
            assert self._sums is not None
            return learn_summed(self._kernels, self._sums[kept], self.seconds[kept])
        return learn_rates(self.table.rows(kept), self.seconds[kept], self._kernels)

    def logs(self, mean: Mean) -> Array:
        """(n,) logarithms of what it says of all samples."""
        if isinstance(mean, Summed):
            assert self._sums is not None
            return np.asarray(np.log(mean.of_sums(self._sums)), dtype=np.float64)
        return np.asarray(np.log(mean.seconds(self.table)), dtype=np.float64)


def blocks_of(
    table: Table, sources: Sequence[Regressed] = (), embedding: Embedding | None = None, of_others: bool = False
) -> tuple[Array, ...]:
    """Features of the process: totals, kernels by place, other devices and the embedding where there are any;
    `of_others`: see `Learned`."""
    if of_others and embedding is not None:
        return (embedding.rows(table),)
    blocks = [np.log1p(totals(table)), counts(table)]
    if sources:
        blocks.append(source_logarithms(sources, table))
    if embedding is not None:
        blocks.append(embedding.rows(table))
    return tuple(blocks)


def scalings_of(blocks: Sequence[Array], embedded: bool = False) -> tuple[Scaling, ...]:
    """The blocks' scales.

    Args:
        blocks: from `blocks_of`, of networks like those that will be asked for.
        embedded: whether the last one is the embedding.
    """
    *others, last = blocks
    return (*map(Scaling.of, others), Scaling.of_whole(last) if embedded else Scaling.of(last))


def interval_width(standardised: Array) -> float:
    """Half an interval in standard deviations, from errors of left-out samples over their deviations.

    Of Student's distribution with their root mean square as its scale: with twenty samples steadier than the
    nineteenth of twenty sizes, which a single outlier decides.
    """
    n = len(standardised)
    scale = float(np.sqrt(np.mean(np.square(standardised))))
    return scale * float(student_t.ppf((1 + CONFIDENCE) / 2, max(1, n - 1)))


def _left_out(
    means: _Means, blocks: Sequence[Array], rest: Averaged, generator: np.random.Generator
) -> tuple[Array, Array]:
    """(n,) errors of log-latencies and (n,) deviations, each sample predicted by those of other folds."""
    n, logs = len(means.seconds), np.log(means.seconds)
    errors, deviations = np.zeros(n), np.zeros(n)
    folds = np.arange(n) % min(n, N_FOLDS)
    for fold in range(min(n, N_FOLDS)):
        kept, left = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        base = means.logs(means.of(kept))
        part = rest.refitted([one[kept] for one in blocks], (logs - base)[kept], REFIT_STEPS, generator)
        found, deviations[left] = part.predict([one[left] for one in blocks])
        errors[left] = logs[left] - base[left] - found
    return errors, deviations
