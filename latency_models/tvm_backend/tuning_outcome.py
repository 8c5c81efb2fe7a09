"""One kernel's search, and whether what it found is kept."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from tvm import ir

from latency_models.errors import LatencyError
from latency_models.latency import Latency
from latency_models.target import Processor, Target
from latency_models.timing import latency_from_visits
from latency_models.tvm_backend.compiler import compiler_target
from latency_models.tvm_backend.traces import ERRORS, scheduled_by
from latency_models.tvm_backend.trial_model import Guess
from latency_models.tvm_backend.trial_process import TrialProcess
from latency_models.tvm_backend.trials import compare, ratio_of
from latency_models.tvm_backend.tuned_store import TunedKernel, keep
from latency_models.tvm_backend.tuning_jobs import TRIAL_S, Job
from latency_models.tvm_backend.tuning_search import Trial, trials

TOLERANCES = {"float32": 1e-5, "float16": 1e-2}
"""Largest difference between two schedules' outputs, as a share of the largest: sums in another order."""
N_VISITS = 6
"""The fewest whose spread alone gives a 95 % interval of a median (`latency_models.timing.latency_from_visits`)."""
COMPARE_S = 60.0
N_ROUNDS, N_FINAL_ROUNDS = 2, 10
N_FINALISTS = 4
"""Schedules that are timed again at length, as the best of many short times is often merely lucky."""
SEED = 0


@dataclass(frozen=True)
class Outcome:
    """What came of a kernel.

    Attributes:
        job: the kernel.
        verdict: in words: `kept`, `kept from before`, or why the fixed rule stays.
        tuned: what was kept, now or before.
        latency: of the best schedule found, as a share of the fixed rule's; None where they were not compared.
        n_trials: schedules tried.
    """

    job: Job
    verdict: str
    tuned: TunedKernel | None = None
    latency: Latency | None = None
    n_trials: int = 0


@dataclass(frozen=True)
class Bench:
    """Where kernels are tried.

    Attributes:
        process: in which they run.
        target, processor: what they are compiled for.
        guess: what is learned of trials, of all kernels together.
    """

    process: TrialProcess
    target: Target
    processor: Processor
    guess: Guess

    def seconds_of(self, job: Job, func: str, n_rounds: int = N_ROUNDS) -> float:
        """Tries a kernel in loops, given as JSON: its time beside the fixed rule's, times that one's first time."""
        n_threads = self.target.n_threads
        ratio = self.process.call(TRIAL_S, ratio_of, func, job.fixed, self.processor, n_threads, n_rounds)
        return ratio * job.before_s


def outcome_of(
    job: Job,
    number: int,
    bench: Bench,
    before: TunedKernel | None,
    over: Callable[[], bool],
    tell: Callable[[float | None, int], None],
) -> Outcome:
    """Searches until told to stop, then compares the best with the fixed rule and keeps it or not.

    Args:
        job: the kernel.
        number: of the kernel, among those tuned.
        bench: where it is tried.
        before: what an earlier search kept; the first schedule that is tried.
        over: asked after every trial.
        tell: the best seconds so far, and the number of trials.
    """
    found, n_trials = list[Trial](), 0
    try:
        for trial in _trials(job, number, bench, before):
            n_trials += 1
            if trial.seconds is not None:
                found = sorted([*found, trial], key=_seconds)[:N_FINALISTS]
            tell(found[0].seconds if found else None, n_trials)
            if over():
                break
    except LatencyError as error:
        if not found:
            return Outcome(job, error.problem, n_trials=n_trials)
    best = _best(job, found, bench)
    if best is None:
        return Outcome(job, "none of the schedules tried could be run", n_trials=n_trials)
    return _judged(job, best, n_trials, bench)


def _best(job: Job, found: list[Trial], bench: Bench) -> Trial | None:
    again = list[Trial]()
    for trial in found:
        try:
            again.append(replace(trial, seconds=bench.seconds_of(job, trial.func, N_FINAL_ROUNDS)))
        except LatencyError:
            continue  # it hung or crashed this time
    return min(again, key=_seconds, default=None)


def _seconds(trial: Trial) -> float:
    return math.inf if trial.seconds is None else trial.seconds


def _trials(job: Job, number: int, bench: Bench, before: TunedKernel | None) -> Iterator[Trial]:
    if before is not None:
        try:
            func = str(ir.save_json(scheduled_by(job.func, before.trace)))
            yield Trial(before.trace, func, bench.seconds_of(job, func))
        except (*ERRORS, LatencyError):
            yield Trial([], "", None)
    target = compiler_target(bench.processor)
    yield from trials(job.func, target, bench.target.n_threads, number, bench.guess, partial(bench.seconds_of, job))


def _judged(job: Job, best: Trial, n_trials: int, bench: Bench) -> Outcome:
    """The best schedule, kept where it computes the same and is faster by more than the interval."""
    processor, n_threads = bench.processor, bench.target.n_threads
    try:
        found = bench.process.call(COMPARE_S, compare, job.fixed, best.func, processor, n_threads, N_VISITS)
    except LatencyError as error:
        return Outcome(job, f"it could not be compared: {error.problem}", n_trials=n_trials)
    latency = latency_from_visits(found.visits, bench.target.label, {}, np.random.default_rng(SEED))
    same = found.difference <= TOLERANCES.get(job.precision, 0.0)
    faster = same and latency.ratio_high < 1
    tuned = TunedKernel(
        kernel=job.key,
        name=job.name,
        trace=best.trace if faster else [],
        before_s=latency.median_s / latency.ratio,
        after_s=latency.median_s,
        ratio=latency.ratio,
        ratio_low=latency.ratio_low,
        ratio_high=latency.ratio_high,
        n_trials=n_trials,
    )
    keep(tuned, processor, n_threads)
    if not same:
        return Outcome(job, f"its outputs are off by {found.difference:.2g} of the largest", n_trials=n_trials)
    if not faster:
        return Outcome(job, "not faster by more than the interval", None, latency, n_trials)
    return Outcome(job, "kept", tuned, latency, n_trials)
