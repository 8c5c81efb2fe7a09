"""Latencies by a clock: every candidate visited beside the anchor, in a worker process."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self, TypeVar, cast, final

import numpy as np
from numpy.typing import NDArray

from latency_models.artifact import Artifact
from latency_models.backend import Feed
from latency_models.errors import DeviceError, LatencyError
from latency_models.kernel import KernelTime
from latency_models.latency import Latency, Visit
from latency_models.limits import Limits, limits_of
from latency_models.precisions import check_precision, refusal
from latency_models.quarantine import Quarantine
from latency_models.requests import Drop, Kernels, Load, Outputs, Sample
from latency_models.target import Target
from latency_models.timing import Plan, latency_from_visits
from latency_models.worker import Step, Worker, WorkerLost

ANCHOR = "the anchor"
CANDIDATE = "the candidate"
Value = TypeVar("Value")


@final
class Measured:
    """Measures on a target; satisfies `Interleaving`. Not to be shared between threads.

    Whatever happens to the code of a candidate happens in a process of its own, within a time limit: one that hangs or
    crashes is a `LatencyError`, and the next candidate gets a fresh process with the anchor loaded again.

    On a remote device a failure may be the device's. A candidate whose device is lost is tried once more, on a fresh
    connection; the anchor, which is known to run, tells whose fault a failure is: where it runs again afterwards the
    candidate is refused, where it does not the device is left alone for a while (`Quarantine`), and until then every
    request raises `DeviceError` at once.

    Args:
        target: whose access is not `estimate`.
        anchor: what every latency is a share of; it stays loaded.
        feed: one value for each input of anchor and candidates.
        seed: of the intervals' bootstrap; the same visits give the same interval.
        plan: of each visit.
        limits: of each step; by default the target's.
        clock: of the quarantine, seconds.
    """

    def __init__(
        self,
        target: Target,
        anchor: Artifact,
        feed: Feed,
        seed: int,
        plan: Plan | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._feed = feed
        self._seed = seed
        self._plan = plan or Plan()
        self._limits = limits or limits_of(target)
        self._worker = Worker(target, self._limits.start_s, (Step(Load(ANCHOR, anchor, feed), self._limits.load_s),))
        self._quarantine = Quarantine(target.label, clock) if target.access == "rpc" else None
        self._environment: dict[str, str] = {}

    @property
    def target(self) -> Target:
        """What the latencies hold for."""
        return self._target

    @property
    def worker_pid(self) -> int | None:
        """Of the process that runs the artifacts now, where there is one."""
        return self._worker.pid

    def latency(self, artifact: Artifact, earlier: tuple[Visit, ...] = (), anchor_s: float | None = None) -> Latency:
        """One more visit, and the latency that it and the earlier ones show; see `LatencyModel.latency`."""
        new = self.visits({CANDIDATE: artifact})[CANDIDATE]
        return self.latency_from((*earlier, new), anchor_s)

    def latencies(
        self,
        artifacts: Mapping[str, Artifact],
        earlier: Mapping[str, tuple[Visit, ...]],
        anchor_s: float | None = None,
    ) -> dict[str, Latency]:
        """One more visit of each artifact, interleaved; see `Interleaving.latencies`."""
        new = self.visits(artifacts)
        return {name: self.latency_from((*earlier[name], one), anchor_s) for name, one in new.items()}

    def latency_from(self, visits: Sequence[Visit], anchor_s: float | None = None) -> Latency:
        """The latency that these visits of one candidate show; nothing is measured."""
        generator = np.random.default_rng([self._seed, len(visits)])
        return latency_from_visits(visits, self._target.label, self.environment(), generator, anchor_s)

    def visits(self, artifacts: Mapping[str, Artifact], plan: Plan | None = None) -> dict[str, Visit]:
        """One visit of each artifact, all interleaved with each other and the anchor.

        Args:
            artifacts: name to artifact.
            plan: where it is not the model's own.

        Raises:
            DeviceError: the device is out of reach; nothing is known of the artifacts.
            LatencyError: one of them cannot be run.
        """
        for artifact in artifacts.values():
            check_precision(self._target, artifact)
        names = tuple(artifacts)

        def work() -> object:
            for name, artifact in artifacts.items():
                self._worker.ask(Load(name, artifact, self._feed), self._limits.load_s)
            limit_s = self._limits.sample_s * len(names)
            return self._worker.ask(Sample(names, ANCHOR, plan or self._plan), limit_s)

        return cast(dict[str, Visit], self._cleared_after(names, work))

    def outputs(self, artifact: Artifact, feeds: Sequence[Feed]) -> list[list[NDArray[np.generic]]]:
        """What an artifact computes on the target for other feeds of the same shapes.

        Raises:
            DeviceError, LatencyError: as for `visits`; or a feed does not fit.
        """
        check_precision(self._target, artifact)

        def work() -> object:
            self._worker.ask(Load(CANDIDATE, artifact, self._feed), self._limits.load_s)
            return [self._worker.ask(Outputs(CANDIDATE, feed), self._limits.sample_s) for feed in feeds]

        return cast(list[list[NDArray[np.generic]]], self._cleared_after((CANDIDATE,), work))

    def kernels(self, artifact: Artifact) -> list[KernelTime]:
        """The time of each kernel of one inference, in order of execution.

        Raises:
            DeviceError, LatencyError: as for `visits`.
        """
        check_precision(self._target, artifact)
        limit_s = self._limits.load_s + self._limits.sample_s
        return cast(
            list[KernelTime],
            self._cleared_after((), lambda: self._worker.ask(Kernels(artifact, self._feed), limit_s)),
        )

    def refusal(self, precision: str) -> str | None:
        """Why the target cannot compute in a precision, or None where it can."""
        return refusal(self._target, precision)

    def environment(self) -> dict[str, str]:
        """What else the latencies depend on: processor, versions, threads. Starts the worker where none has run.

        Raises:
            DeviceError, LatencyError: as for `visits`, of the anchor.
        """
        if not self._environment:
            self._attempted(lambda: None)
        return dict(self._environment)

    def close(self) -> None:
        """Ends the worker process, and with it every connection."""
        self._worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _cleared_after(self, names: tuple[str, ...], work: Callable[[], Value]) -> Value:
        """The value of some work, whose candidates are then dropped from the worker if it still runs."""
        try:
            return self._attempted(work)
        finally:
            if self._worker.pid is not None and names:
                try:
                    self._worker.ask(Drop(names), self._limits.start_s)
                except LatencyError:
                    self._worker.kill()  # lost meanwhile: a fresh one has nothing to drop

    def _attempted(self, work: Callable[[], Value]) -> Value:
        """The value of some work in the worker; what is lost with a remote device is tried twice."""
        if self._quarantine is None:
            self._reach()
            return work()
        self._quarantine.admit()
        lost: LatencyError | None = None
        for _ in range(2):
            self._reach()
            try:
                value = work()
            except (WorkerLost, DeviceError) as error:
                if _by_exception(error):
                    raise
                self._worker.kill()
                lost = error
            else:
                self._quarantine.worked()
                return value
        self._reach()  # the control
        self._quarantine.worked()
        assert lost is not None
        raise LatencyError(
            f"On {self._target.label} the anchor runs, but this network failed twice: {lost.problem}", lost.remedy
        ) from lost

    def _reach(self) -> None:
        """Makes sure that a worker runs with the anchor loaded, on a remote device that answers."""
        try:
            environment = self._worker.start()[0]
        except (WorkerLost, DeviceError) as error:
            if self._quarantine is None or _by_exception(error):
                raise
            self._quarantine.failed(error.problem)
            raise DeviceError(error.problem, error.remedy) from error
        self._environment = cast(dict[str, str], environment)


def _by_exception(error: LatencyError) -> bool:
    return isinstance(error, WorkerLost) and error.by_exception
