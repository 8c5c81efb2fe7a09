"""Tuning the kernels of networks that the user picked, and keeping what beats the fixed rule."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from latency_models.artifact import Artifact
from latency_models.backend import Feed
from latency_models.errors import LatencyError
from latency_models.latency import Latency
from latency_models.target import Target
from latency_models.timing import latency_from_visits
from latency_models.tvm_backend import environment
from latency_models.tvm_backend.compiler import processor_of
from latency_models.tvm_backend.trial_model import Guess
from latency_models.tvm_backend.trial_process import TrialProcess
from latency_models.tvm_backend.trials import compare_networks
from latency_models.tvm_backend.tuned_store import Stored, forget_known, stored
from latency_models.tvm_backend.tuning_jobs import Job, jobs_of, timed
from latency_models.tvm_backend.tuning_outcome import Bench, Outcome, outcome_of

SMALLEST_SHARE = 0.01
"""Of the networks' time; kernels below it are not worth a search."""
LEAST_S = 30.0
"""For the search of one kernel, some fifty trials: fewer seldom beat the fixed rule. The rest waits for another."""
JUDGE_S = 6.0
"""Set aside in each kernel's share for the comparison with the fixed rule."""
FINALE_S = 20.0
"""Set aside for a network's own measurement, at most a quarter of the budget."""
NETWORK_S = 300.0
N_VISITS = 6
SEED = 0


@dataclass(frozen=True)
class Progress:
    """Where tuning stands.

    Attributes:
        job: the kernel that is searched.
        number, n_jobs: its place among those that are.
        best_s: of the best schedule so far, None before there is one.
        n_trials: so far.
        left_s: of the time budget.
    """

    job: Job
    number: int
    n_jobs: int
    best_s: float | None
    n_trials: int
    left_s: float


@dataclass(frozen=True)
class Tuning:
    """What came of all.

    Attributes:
        outcomes: the most time-consuming kernel first.
        latencies: of each network with its tuned kernels, as a share of its own by the fixed rule; None where no kernel
            of it is tuned.
        damaged: stored kernels that were ignored, in words.
    """

    outcomes: tuple[Outcome, ...]
    latencies: tuple[Latency | None, ...]
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class Budget:
    """Seconds that are left for searching.

    Attributes:
        end_s: when they are over, by the clock.
        clock: seconds from an arbitrary origin.
        stopped: whether the user wants no more.
    """

    end_s: float
    clock: Callable[[], float]
    stopped: Callable[[], bool]

    @property
    def left_s(self) -> float:
        """Seconds."""
        return 0.0 if self.stopped() else max(0.0, self.end_s - self.clock())

    def until(self, share: float) -> Callable[[], bool]:
        """Whether a share of what is left now, less what comparing takes, is used up; asked again and again."""
        until_s = self.clock() + max(share * self.left_s - JUDGE_S, min(LEAST_S, self.left_s))
        return lambda: self.stopped() or self.clock() >= until_s


def tune(
    networks: Sequence[tuple[Artifact, Feed]],
    target: Target,
    budget_s: float,
    fresh: bool = False,
    report: Callable[[Progress | Outcome], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Tuning:
    """Searches, the most time-consuming kernel first, and keeps what is faster by more than the interval.

    Kernels that were tuned before are left alone. Every other gets a share of the time that is left as large as its
    share of the time of those that are left. What is kept is stored at once, for every later compilation.

    Args:
        networks: with a feed each.
        target: this machine's processor.
        budget_s: seconds in all; a search or a measurement that has begun is finished.
        fresh: tune again what was tuned before, from what was found then.
        report: is told of every trial and of every kernel that is done.
        stopped: asked after every trial; where true, the best so far is compared and kept, and the rest left.
        clock: of the budget, seconds.

    Raises:
        LatencyError: the target is not this machine's processor with TVM, or a network cannot be compiled for it.
    """
    check_tunable(target)
    budget = Budget(clock() + budget_s - min(budget_s / 4, FINALE_S * len(networks)), clock, stopped)
    processor = processor_of(target)
    before = stored(processor, target.n_threads)
    with TrialProcess() as process:
        jobs = timed(jobs_of(networks, target), process, processor, target.n_threads)
        bench = Bench(process, target, processor, Guess())
        outcomes = _outcomes(jobs, bench, before, fresh, budget, report)
        after = stored(processor, target.n_threads)
        forget_known()
        latencies = tuple(
            _latency(process, artifact, target, feed, after)
            if any(one.tuned and number in one.job.networks for one in outcomes)
            else None
            for number, (artifact, feed) in enumerate(networks)
        )
    return Tuning(tuple(outcomes), latencies, after.damaged)


def check_tunable(target: Target) -> None:
    """Refuses targets whose kernels cannot be tuned from here.

    Raises:
        LatencyError: the target is not this machine's processor with TVM.
    """
    if (target.access, target.runtime, target.device) != ("local", "tvm", "cpu"):
        raise LatencyError(
            f"Kernels are tuned on this machine's processor with TVM, which the target {target.name} is not.",
            "Use --target tvm-cpu.",
        )


def _outcomes(
    jobs: Sequence[Job],
    bench: Bench,
    before: Stored,
    fresh: bool,
    budget: Budget,
    report: Callable[[Progress | Outcome], None],
) -> list[Outcome]:
    total_s = sum(job.weight_s for job in jobs)
    todo = [
        job.key
        for job in jobs
        if (fresh or job.key not in {*before.kernels, *before.searched}) and job.weight_s >= SMALLEST_SHARE * total_s
    ]
    rest_s, outcomes = sum(job.weight_s for job in jobs if job.key in todo), list[Outcome]()
    for job in jobs:
        tuned = before.kernels.get(job.key)
        if job.key not in todo:
            outcome = Outcome(job, _untouched(job, before), tuned)
        elif budget.left_s == 0:
            outcome = Outcome(job, "no time was left", tuned)
        else:
            number = todo.index(job.key)

            def tell(best_s: float | None, n_trials: int, job: Job = job, number: int = number) -> None:
                report(Progress(job, number + 1, len(todo), best_s, n_trials, budget.left_s))

            outcome = outcome_of(job, number, bench, tuned, budget.until(job.weight_s / rest_s), tell)
            rest_s -= job.weight_s
        outcomes.append(outcome)
        report(outcome)
    return outcomes


def _untouched(job: Job, before: Stored) -> str:
    if job.key in before.kernels:
        return "kept from before"
    return "searched before in vain" if job.key in before.searched else "too small to matter"


def _latency(process: TrialProcess, artifact: Artifact, target: Target, feed: Feed, tuned: Stored) -> Latency:
    visits = process.call(NETWORK_S, compare_networks, artifact, target, feed, tuned, N_VISITS)
    return latency_from_visits(visits, target.label, environment(target), np.random.default_rng(SEED))
