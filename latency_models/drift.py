"""Noticing that the machine is no longer what it was: known students are visited again now and then.

The ratio to the teacher is free of what slows everything alike, but not of a change that meets one kind of kernel (an
int8 student was seen at .175 of its float32 teacher for a while and at .235 a minute later).
"""

from collections.abc import Mapping, Sequence
from typing import final

from latency_models.artifact import Artifact
from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from latency_models.latency import Latency, Visit
from latency_models.measured import Measured
from latency_models.target import Target

EVERY = 16
"""Measured candidates between two checks."""
N_BASELINE = 8
"""Visits of a control that its next one is held against; of so many the interval reaches from smallest to largest."""


@final
class Watched:
    """Satisfies `Interleaving`: measures, and checks every so often that nothing has drifted.

    The first candidate measured in each precision is a control. At a check each is visited again. Where the interval of
    that visit lies apart from that of all earlier ones, it is visited once more; where that lies apart on the same
    side, the target has drifted: what was measured since the last good check is affected, and the control's earlier
    visits no longer count.

    Args:
        measured: measures on the target.
        every: measured candidates between two checks.
    """

    def __init__(self, measured: Measured, every: int = EVERY) -> None:
        self._measured = measured
        self._every = every
        self._controls: dict[str, tuple[Artifact, tuple[Visit, ...]]] = {}
        self._since: list[tuple[Artifact, Visit]] = []
        self._affected: list[tuple[Artifact, Visit]] = []
        self.n_checks = 0

    @property
    def target(self) -> Target:
        """What the latencies hold for."""
        return self._measured.target

    def latency(self, artifact: Artifact, earlier: tuple[Visit, ...] = (), anchor_s: float | None = None) -> Latency:
        """See `LatencyModel.latency`; a check may follow."""
        latency = self._measured.latency(artifact, earlier, anchor_s)
        self._watch([(artifact, latency)])
        return latency

    def latencies(
        self,
        artifacts: Mapping[str, Artifact],
        earlier: Mapping[str, tuple[Visit, ...]],
        anchor_s: float | None = None,
    ) -> dict[str, Latency]:
        """See `Interleaving.latencies`; a check may follow."""
        found = self._measured.latencies(artifacts, earlier, anchor_s)
        self._watch([(artifacts[name], latency) for name, latency in found.items()])
        return found

    def agrees(self, known: Sequence[tuple[Artifact, Sequence[Visit]]]) -> bool:
        """Whether what was measured before still holds: not where every one of these students, visited again, takes
        another share of the teacher's latency than it did, all of them more or all of them less.

        Args:
            known: artifacts with their earlier visits.

        Raises:
            DeviceError, LatencyError: as for `LatencyModel.latency`.
        """
        sides = {apart(self._measured, visits, self._visit(artifact)) for artifact, visits in known}
        return len(sides) != 1 or sides == {0}

    def check(self) -> bool:
        """Visits the controls again; whether the target is as it was. What is affected says `take_affected`."""
        self.n_checks += 1
        holds = [self._holds(precision) for precision in list(self._controls)]
        good = all(holds)
        if not good:
            self._affected += self._since
        self._since = []
        return good

    def take_affected(self) -> list[tuple[Artifact, Visit]]:
        """What was measured between the last good check and one that found a drift; told once."""
        found, self._affected = self._affected, []
        return found

    def latency_from(self, visits: Sequence[Visit], anchor_s: float | None = None) -> Latency:
        """See `Measured.latency_from`."""
        return self._measured.latency_from(visits, anchor_s)

    def kernels(self, artifact: Artifact) -> list[KernelTime]:
        """See `LatencyModel.kernels`."""
        return self._measured.kernels(artifact)

    def refusal(self, precision: str) -> str | None:
        """Why the target cannot compute in a precision, or None where it can."""
        return self._measured.refusal(precision)

    def environment(self) -> dict[str, str]:
        """See `LatencyModel.environment`."""
        return self._measured.environment()

    def close(self) -> None:
        """Ends what measures."""
        self._measured.close()

    def _watch(self, measured: Sequence[tuple[Artifact, Latency]]) -> None:
        for artifact, latency in measured:
            self._since.append((artifact, latency.visits[-1]))
            self._controls.setdefault(artifact.precision, (artifact, latency.visits[-1:]))
        if len(self._since) >= self._every:
            self.check()

    def _holds(self, precision: str) -> bool:
        """Whether a control still takes the share of the teacher's latency that it took."""
        artifact, known = self._controls[precision]
        try:
            first = self._visit(artifact)
            side = apart(self._measured, known, first)
            second = self._visit(artifact) if side else None
        except LatencyError:
            del self._controls[precision]  # out of reach, or its file is gone: the next candidate is the control
            return True
        if second is not None and apart(self._measured, known, second) == side:
            self._controls[precision] = (artifact, (first, second))
            return False
        new = (first,) if second is None else (first, second)
        self._controls[precision] = (artifact, (*known, *new)[-N_BASELINE:])
        return True

    def _visit(self, artifact: Artifact) -> Visit:
        return self._measured.visits({"the control": artifact})["the control"]


def apart(model: Measured, known: Sequence[Visit], new: Visit) -> int:
    """1 where a visit is slower than those before beyond both intervals, -1 where it is faster, else 0."""
    before, now = model.latency_from(known), model.latency_from((new,))
    return int(now.ratio_low > before.ratio_high) - int(now.ratio_high < before.ratio_low)
