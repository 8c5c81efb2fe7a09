"""The kernels of networks as jobs for tuning."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tvm import ir, tirx

from latency_models.artifact import Artifact
from latency_models.backend import Feed
from latency_models.target import Processor, Target
from latency_models.tvm_backend.lowering import lower
from latency_models.tvm_backend.traces import kernel_hash
from latency_models.tvm_backend.trial_process import TrialProcess
from latency_models.tvm_backend.trials import seconds_of
from latency_models.tvm_backend.tuned_store import NOTHING

TRIAL_S = 10.0
"""For compiling a kernel and running it a few times."""


@dataclass(frozen=True)
class Job:
    """A kernel that may be tuned.

    Attributes:
        key: its hash.
        name, operator, shape: as in the first network that has it.
        func: unscheduled.
        fixed: by the fixed rule, as JSON.
        precision: of its output.
        n_calls: of one inference of each network, added up.
        networks: numbers of those that have it.
        before_s: of one execution by the fixed rule.
    """

    key: str
    name: str
    operator: str
    shape: tuple[int, ...]
    func: tirx.PrimFunc
    fixed: str
    precision: str
    n_calls: int
    networks: tuple[int, ...]
    before_s: float = 0.0

    @property
    def weight_s(self) -> float:
        """Seconds in all."""
        return self.n_calls * self.before_s


def jobs_of(networks: Sequence[tuple[Artifact, Feed]], target: Target) -> list[Job]:
    """The kernels that networks consist of by the fixed rule; one that several share is one job.

    Raises:
        LatencyError: as for `lower`.
    """
    jobs: dict[str, Job] = {}
    for number, (artifact, feed) in enumerate(networks):
        lowered = lower(artifact, target, {name: array.shape for name, array in feed.items()}, NOTHING)
        for kernel in lowered.kernels:
            func = lowered.main[kernel.name]
            key = kernel_hash(func)
            known = jobs.get(key)
            if known is not None:
                among = tuple(dict.fromkeys((*known.networks, number)))
                jobs[key] = replace(known, n_calls=known.n_calls + kernel.n_calls, networks=among)
                continue
            fixed = str(ir.save_json(kernel.func))
            jobs[key] = Job(
                key,
                kernel.name,
                kernel.operator,
                kernel.shape,
                func,
                fixed,
                kernel.precision,
                kernel.n_calls,
                (number,),
            )
    return list(jobs.values())


def timed(jobs: Iterable[Job], process: TrialProcess, processor: Processor, n_threads: int) -> list[Job]:
    """The jobs with their times by the fixed rule, the one that takes most of the networks' time first.

    Raises:
        LatencyError: one of them does not run.
    """
    found = [replace(job, before_s=process.call(TRIAL_S, seconds_of, job.fixed, processor, n_threads)) for job in jobs]
    return sorted(found, key=lambda job: -job.weight_s)
