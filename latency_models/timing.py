"""Timing inferences against an anchor. The only file of the project that reads a clock to time an inference."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from latency_models.errors import LatencyError
from latency_models.latency import Latency, Visit

Clock = Callable[[], float]
"""Seconds from an arbitrary origin, never going back."""

RESOLUTION = 0.01
"""Half width, as a log-ratio, that no interval goes below: a precaution, not a fitted figure. Where buffers happen to
lie in memory can favour one of two equal programs for as long as they are loaded (Mytkowicz et al. 2009, "Producing
wrong data without doing anything obviously wrong!"), which no number of pairs averages away. Twelve copies of a network
of 2 ms in one process differed by a standard deviation of 0.3 %, hardly more than the noise of that figure."""

Z_95 = 1.959964
N_BOOTSTRAP = 1000


class Runner(Protocol):
    """Something that can be timed with this machine's clock."""

    def run(self) -> None:
        """One inference, finished on return."""


@runtime_checkable
class SelfTimed(Protocol):
    """Something that is timed where it runs (a GPU by its events, a board by its own clock): the wire is left out."""

    def sample_s(self, n_samples: int, n_inferences: int) -> Sequence[float]:
        """Seconds of one inference, `n_samples` times, each the mean over `n_inferences` in a row."""


@dataclass(frozen=True)
class Plan:
    """How long and in what order to sample.

    Attributes:
        n_pairs: pairs of samples for each candidate.
        n_block: samples of one network in a row before the other's turn.
        n_settle: untimed inferences at the start of a block. They bring a network's weights back into the caches that
            the other has just emptied, as they are when it runs alone.
        max_s: no new block is begun for a candidate that has been sampled for so long; the first is always finished.
        min_sample_s: inferences shorter than this are averaged, as many to a sample as it takes to reach it.
        warm_up_window: inferences whose median is compared with that of as many before.
        warm_up_tolerance: relative difference of the two medians that counts as stable.
        warm_up_max_s: a network that is not stable after so long is sampled all the same.
    """

    n_pairs: int = 52
    n_block: int = 4
    n_settle: int = 2
    max_s: float = 1.0
    min_sample_s: float = 50e-6
    warm_up_window: int = 5
    warm_up_tolerance: float = 0.03
    warm_up_max_s: float = 0.1

    def __post_init__(self) -> None:
        if min(self.n_pairs, self.n_block, self.warm_up_window) < 1 or self.n_settle < 0:
            raise ValueError("a plan has at least one pair, block sample and warm-up inference")


def visit(
    candidates: Mapping[str, Runner], anchor: Runner, plan: Plan, clock: Clock = time.perf_counter
) -> dict[str, Visit]:
    """Samples every candidate against the anchor, interleaved.

    After the warm-up, blocks alternate as candidate, anchor, candidate, anchor, ..., with several candidates as a, b,
    anchor, a, b, anchor, ..., so that what drifts or interferes meets all alike. The i-th sample of a candidate's block
    is paired with the i-th of the anchor's block in the same round. Half-way the order turns to anchor, b, a, so that a
    steady drift cancels. The number of threads is the runner's; no core is pinned, as on a core that another process
    takes up every sample would suffer.

    Every block but that one thus follows one of another network, whose weights have just filled the caches. Where the
    order turns each round (ABBA) every second block follows one of its own: with weights of 2.8 MB beside a cache of
    2 MB its samples were 1 to 6 % shorter, so that the log-ratios of two equal networks lay around -5 and +5 % and
    their median anywhere between.

    Raises:
        LatencyError: a sample is not a positive, finite number of seconds.
    """
    anchor_s = _warm_up(anchor, plan, clock)
    single_s = {name: _warm_up(runner, plan, clock) for name, runner in candidates.items()}
    samples: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in candidates}
    spent_s = dict.fromkeys(candidates, 0.0)
    waiting = list(candidates)
    n_taken = 0
    while waiting:
        pair_s = anchor_s + max(single_s[name] for name in waiting)
        n = min(_block_length(pair_s, plan), plan.n_pairs - n_taken)
        turns: list[str | None] = [*waiting, None]
        early = 2 * n_taken < plan.n_pairs and 2 * max(spent_s[name] for name in waiting) < plan.max_s
        taken: dict[str | None, list[float]] = {}
        took_s: dict[str | None, float] = {}
        for name in turns if early else reversed(turns):
            runner, one_s = (anchor, anchor_s) if name is None else (candidates[name], single_s[name])
            start_s = clock()
            taken[name] = _block(runner, n, _inferences_per_sample(one_s, plan), plan.n_settle, clock)
            took_s[name] = clock() - start_s
        for name in waiting:
            samples[name][0].extend(taken[name])
            samples[name][1].extend(taken[None])
            spent_s[name] += took_s[name] + took_s[None]
        n_taken += n
        waiting = [name for name in waiting if n_taken < plan.n_pairs and spent_s[name] < plan.max_s]
    return {name: Visit(tuple(a), tuple(b)) for name, (a, b) in samples.items()}


def samples_s(runner: Runner, plan: Plan, clock: Clock = time.perf_counter) -> tuple[float, ...]:
    """Seconds of one inference, over and over with nothing beside it: to explain a time, never to compare two networks.

    Up to `plan.n_pairs` samples in blocks after the warm-up, fewer where they would take longer than `plan.max_s`.

    Raises:
        LatencyError: a sample is not a positive, finite number of seconds.
    """
    one_s, taken, start_s = _warm_up(runner, plan, clock), list[float](), clock()
    while len(taken) < plan.n_pairs and (not taken or clock() - start_s < plan.max_s):
        n = min(_block_length(one_s, plan), plan.n_pairs - len(taken))
        taken += _block(runner, n, _inferences_per_sample(one_s, plan), plan.n_settle, clock)
    return tuple(taken)


def latency_from_visits(
    visits: Sequence[Visit],
    target_label: str,
    environment: Mapping[str, str],
    generator: np.random.Generator,
    anchor_s: float | None = None,
) -> Latency:
    """The measured latency that these visits of one candidate to one anchor show.

    Ratio: the median over visits of each visit's median log-ratio of paired samples, so that a long visit counts no
    more than a short one.

    Interval, the wider end of three on either side:
    1. Bootstrap of the ratio (Efron & Tibshirani 1993): visits are resampled with replacement, and within each visit
       circular blocks of consecutive pairs (Politis & Romano 1992), since neighbours in time are alike. Its 2.5 and
       97.5 % ends are moved outwards by Student's t and the factor sqrt(b / (b - 1)) for the b blocks there are,
       without which few blocks give too narrow an interval.
    2. The distribution-free interval of a median (order statistics) over the visits' medians: their smallest and
       largest up to eight visits. The interval is thus never narrower than the spread between visits. Fewer than six
       visits cannot reach 95 % in this way; one visit says nothing of states that last longer than it did.
    3. `RESOLUTION` around the ratio.

    Seconds: the ratio and its ends times the anchor's, so that latencies with one `anchor_s` sort as their ratios do.

    Args:
        visits: at least one.
        target_label: label of the target they were made on.
        environment: processor, versions, threads.
        generator: randomness of the bootstrap.
        anchor_s: the anchor's latency; by default the median of its samples in these visits.

    Raises:
        LatencyError: there is no visit, or a sample is not a positive, finite number of seconds.
    """
    if not visits:
        raise LatencyError("There are no timing samples.", "Time the artifact at least once.")
    samples = [log_ratios(one) for one in map(_checked, visits)]
    medians = np.sort([float(np.median(values)) for values in samples])
    centre = float(np.median(medians))
    low, high = _bootstrap_ends(samples, centre, generator)
    outer = _median_rank(len(medians))
    low = min(low, float(medians[outer]), centre - RESOLUTION)
    high = max(high, float(medians[-1 - outer]), centre + RESOLUTION)
    if anchor_s is None:
        anchor_s = median_anchor_s(visits)
    ratio, ratio_low, ratio_high = math.exp(centre), math.exp(low), math.exp(high)
    return Latency(
        median_s=ratio * anchor_s,
        low_s=ratio_low * anchor_s,
        high_s=ratio_high * anchor_s,
        ratio=ratio,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
        source="measured",
        target=target_label,
        visits=tuple(visits),
        environment=dict(environment),
    )


def log_ratios(visit: Visit) -> NDArray[np.float64]:
    """(n,) log-ratios of a visit's paired samples."""
    values: NDArray[np.float64] = np.log(visit.candidate_s) - np.log(visit.anchor_s)
    return values


def median_anchor_s(visits: Iterable[Visit]) -> float:
    """The median of the anchor's samples over these visits, seconds."""
    return float(np.median(np.concatenate([one.anchor_s for one in visits])))


def _checked(one: Visit) -> Visit:
    for sample_s in (*one.candidate_s, *one.anchor_s):
        _check_sample(sample_s)
    return one


def _check_sample(sample_s: float) -> None:
    if not (math.isfinite(sample_s) and sample_s > 0):
        raise LatencyError(
            "A timing sample is not a positive, finite number of seconds.",
            "Time the artifact again, and check the machine's clock if it happens again.",
        )


def _warm_up(runner: Runner, plan: Plan, clock: Clock) -> float:
    """Runs until two windows in a row have about the same median; returns the last median, seconds."""
    window, taken, start_s = plan.warm_up_window, list[float](), clock()
    while True:
        taken += _block(runner, window, 1, 0, clock)
        last_s = float(np.median(taken[-window:]))
        before_s = float(np.median(taken[-2 * window : -window])) if len(taken) > window else math.inf
        stable = abs(last_s - before_s) <= plan.warm_up_tolerance * last_s
        if stable or clock() - start_s >= plan.warm_up_max_s:
            return last_s


def _block(runner: Runner, n_samples: int, n_inferences: int, n_settle: int, clock: Clock) -> list[float]:
    """Seconds of single inferences, one for each sample."""
    for _ in range(n_settle * n_inferences):
        runner.run()
    if isinstance(runner, SelfTimed):
        taken = list(runner.sample_s(n_samples, n_inferences))
        for sample_s in taken:
            _check_sample(sample_s)
        return taken
    taken = []
    for _ in range(n_samples):
        start_s = clock()
        for _ in range(n_inferences):
            runner.run()
        taken.append((clock() - start_s) / n_inferences)
        _check_sample(taken[-1])
    return taken


def _inferences_per_sample(one_s: float, plan: Plan) -> int:
    return max(1, math.ceil(plan.min_sample_s / one_s))


def _block_length(pair_s: float, plan: Plan) -> int:
    """Samples in a block: shorter where inferences are so slow that `max_s` would see few changes of turn."""
    return max(1, min(plan.n_block, int(plan.max_s / (8 * pair_s))))


def _bootstrap_ends(
    log_ratios: Sequence[NDArray[np.float64]], centre: float, generator: np.random.Generator
) -> tuple[float, float]:
    """2.5 and 97.5 % ends of the bootstrapped median over visits of medians within visits."""
    within = np.stack([_resampled_medians(values, generator) for values in log_ratios])
    chosen = generator.integers(len(within), size=within.shape)
    replicates = np.median(within[chosen, np.arange(within.shape[1])], axis=0)
    low, high = np.quantile(replicates, (0.025, 0.975))
    n_blocks = sum(math.ceil(len(values) / _dependence(len(values))) for values in log_ratios)
    wider = _student_t_95(n_blocks - 1) / Z_95 * math.sqrt(n_blocks / (n_blocks - 1)) if n_blocks > 1 else 1.0
    return centre - wider * max(0.0, centre - float(low)), centre + wider * max(0.0, float(high) - centre)


def _resampled_medians(values: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Medians of `N_BOOTSTRAP` circular block resamples, shape (N_BOOTSTRAP,)."""
    length = _dependence(len(values))
    starts = generator.integers(len(values), size=(N_BOOTSTRAP, math.ceil(len(values) / length)))
    indices = (starts[:, :, None] + np.arange(length)).reshape(N_BOOTSTRAP, -1)[:, : len(values)] % len(values)
    medians: NDArray[np.float64] = np.median(values[indices], axis=1)
    return medians


def _dependence(n_pairs: int) -> int:
    """Pairs in a row that are resampled together: an eighth of a short visit, growing slowly for long ones."""
    return max(1, min(n_pairs // 8, math.ceil(2 * math.cbrt(n_pairs))))


def _student_t_95(freedom: int) -> float:
    """97.5 % point of Student's t (Abramowitz & Stegun 26.7.5, Cornish-Fisher; 1 % low at 3 degrees, 24 % at 1)."""
    z = Z_95
    terms = ((z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    return z + sum(term / math.pow(freedom, k + 1) for k, term in enumerate(terms))


def _median_rank(n: int) -> int:
    """How many values may be left out at either end so that the rest still covers the median in 95 % of cases."""
    rank = 0
    while 2 * sum(math.comb(n, k) for k in range(rank + 2)) <= 0.05 * 2**n:
        rank += 1
    return rank
