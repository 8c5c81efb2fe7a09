"""MetaSchedule's evolutionary search over the schedules of one kernel (Shao et al. 2022, "Tensor Program Optimization
with Probabilistic Programs").

Without tensor intrinsics, whose import alone takes 19 CPU seconds: `TuneContext` is therefore made without its Python
constructor, which imports them.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tvm import ir, s_tir, tirx
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule import _ffi_api
from tvm.s_tir.meta_schedule.logging import get_logging_func
from tvm.target import Target

from latency_models.errors import LatencyError
from latency_models.tvm_backend.traces import ERRORS, in_loops, module_of, trace_json
from latency_models.tvm_backend.trial_model import Guess, TrialModel

N_BATCH = 24
POPULATION = 48
N_GENERATIONS = 1
N_MUTATIONS = 2
"""Tries to mutate a schedule into a valid one. Making schedules costs more than trying them, so little is spent."""
N_UNMEASURED = 16
MAX_TRIALS = 100_000
LOGGER = logging.getLogger("understudy.tune")


@dataclass(frozen=True)
class Trial:
    """A schedule that was tried.

    Attributes:
        trace: its steps as JSON.
        func: the kernel in loops, as JSON.
        seconds: of one execution; None where it hung, crashed or could not be compiled.
    """

    trace: list[Any]
    func: str
    seconds: float | None


def trials(
    func: tirx.PrimFunc, target: Target, n_threads: int, seed: int, guess: Guess, seconds_of: Callable[[str], float]
) -> Iterator[Trial]:
    """Schedules of a kernel as they are tried, without end where there are enough of them.

    Args:
        func: unscheduled.
        target: what it is compiled for.
        n_threads: that it will run on.
        seed: of the search.
        guess: what is learned of trials; kernels tuned one after the other share it.
        seconds_of: tries a kernel in loops, given as JSON.

    Raises:
        LatencyError: MetaSchedule has no schedules for the kernel.
    """
    module = module_of(func)
    try:
        context = _context(module, target, n_threads, seed)
        spaces = context.generate_design_space()
        database = ms.database.MemoryDatabase()
        model = TrialModel(guess, seed)
        context.pre_tuning(MAX_TRIALS, N_BATCH, spaces, database, model)
        workload = database.commit_workload(module)
        while candidates := context.generate_measure_candidates():
            results = []
            for candidate in candidates:
                trial = _tried(candidate.sch, seconds_of)
                if trial.seconds is None:
                    results.append(ms.runner.RunnerResult(None, "it failed"))
                else:
                    results.append(ms.runner.RunnerResult([trial.seconds], None))
                    database.commit_tuning_record(
                        ms.database.TuningRecord(
                            candidate.sch.trace, workload, [trial.seconds], target, candidate.args_info
                        )
                    )
                yield trial
            context.notify_runner_results(candidates, results)
            model.update(context, candidates, results)
    except ERRORS as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
        raise LatencyError(f"MetaSchedule cannot search this kernel: {words}.", "It keeps the fixed rule.") from error


def _tried(schedule: s_tir.Schedule, seconds_of: Callable[[str], float]) -> Trial:
    func = str(ir.save_json(in_loops(schedule.mod)))
    try:
        return Trial(trace_json(schedule), func, seconds_of(func))
    except LatencyError:
        return Trial([], func, None)


def _context(module: ir.IRModule, target: Target, n_threads: int, seed: int) -> ms.TuneContext:
    space = ms.space_generator.PostOrderApply(
        sch_rules=_rules(n_threads),
        postprocs=ms.postproc.Postproc.create("llvm"),
        mutator_probs=ms.mutator.Mutator.create("llvm"),
    )
    strategy = ms.search_strategy.EvolutionarySearch(
        population_size=POPULATION,
        genetic_num_iters=N_GENERATIONS,
        genetic_max_fail_count=N_MUTATIONS,
        init_min_unmeasured=N_UNMEASURED,
    )
    attributes = {**target.export(), "num-cores": n_threads}
    with_cores = Target({name: value for name, value in attributes.items() if name not in ("tag", "keys")})
    context = ms.TuneContext.__new__(ms.TuneContext)
    context.__init_handle_by_constructor__(
        _ffi_api.TuneContext, module, with_cores, space, strategy, "main", 1, seed + 1, get_logging_func(LOGGER)
    )
    _ffi_api.TuneContextInitialize(context)
    return context


def _rules(n_threads: int) -> list[Any]:
    """Tiles of outputs that are accumulated over the whole reduction, unrolled and vectorised.

    MetaSchedule's own rules for CPUs tile every loop in four (`SSRSRS`), too many ways for a user's time: after 1 to 8
    trials the best for a 3x3 convolution of ResNet-20 took 2 to 18 times as long as the fixed rule's.
    With this space it takes 0.99 to 1.08 times as long after 50. No loop is parallel for one thread, as it would cost a
    call of the pool.
    """
    rule = ms.schedule_rule
    return [
        rule.InlineConstantScalars(),
        rule.AutoInline(
            into_producer=False,
            into_consumer=True,
            inline_const_tensor=True,
            disallow_if_then_else=True,
            require_injective=True,
            require_ordered=True,
            disallow_op=["tirx.exp"],
        ),
        rule.MultiLevelTiling(
            structure="SRS",
            max_innermost_factor=64,
            reuse_write=rule.ReuseType(req="must", levels=[1], scope="global"),
        ),
        rule.ParallelizeVectorizeUnroll(
            max_jobs_per_core=16 if n_threads > 1 else -1,
            max_vectorize_extent=64,
            unroll_max_steps=[64, 256, 1024],
            unroll_explicit=True,
        ),
        rule.RandomComputeLocation(),
    ]
