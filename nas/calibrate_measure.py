"""The measuring part of `nas calibrate`: one target, students chosen for what they tell, each kept as it comes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import cast

from latency_models.artifact import Artifact, Precision
from latency_models.calibration import Measurement, forget, keep, kept
from latency_models.drift import Watched
from latency_models.errors import DeviceError, LatencyError
from latency_models.latency import Visit
from latency_models.predict.choosing import choose
from latency_models.predict.features import table_of
from latency_models.predict.kernels import Kernel, Network, network_of
from latency_models.predicted import shares_of
from nas.calibrate_students import Nursery
from nas.deadline import Deadline
from nas.evaluate import FAILURES
from nas.progress import Progress
from search_spaces.recipe import Recipe

N_KERNELS = 20
"""Students of each precision whose kernels are timed one by one."""
N_AGAIN = 3
"""Students of an earlier call that are visited again before it is gone on with."""
OTHER_WAY = 4
"""Every so many int8 files treat the layers that read the inputs the other way: a search chooses one of the two."""
LONGEST_REASON = 160
SPARE = 1.3
"""Students that are chosen for each one that is wanted, as some cannot be built."""


@dataclass(frozen=True)
class Job:
    """One student to be measured.

    Attributes:
        recipe: without a precision.
        precision: of the file.
        first: whether an int8 file keeps the layers that read the inputs in float32.
    """

    recipe: Recipe
    precision: Precision
    first: bool = False

    @property
    def name(self) -> str:
        """In the file of measurements."""
        return json.dumps([self.recipe.to_json(), self.precision, self.first])

    @classmethod
    def named(cls, name: str) -> "Job":
        """Inverse of `name`.

        Raises:
            ValueError: it is no such name.
        """
        recipe, precision, first = json.loads(name)
        return cls(Recipe.from_json(recipe), precision, bool(first))


@dataclass(eq=False)
class Session:
    """One target of a calibration.

    Attributes:
        nursery: builds the students.
        model: measures.
        folder: keeps the measurements.
        networks: the students there are to choose from, as their float32 kernels.
        progress, deadline: of the calibration.
        seed: of what is drawn.
        notes: what the user must know; added to.
        names: of the students measured in this session, by their artifact's digest.
    """

    nursery: Nursery
    model: Watched
    folder: Path
    networks: Mapping[Recipe, Network]
    progress: Progress
    deadline: Deadline
    seed: int
    notes: list[str]
    names: dict[str, str] = field(default_factory=dict)


def measure_all(session: Session, precisions: tuple[str, ...], n: int, end_s: float) -> dict[str, int]:
    """Measures until there are n students of each precision; the precisions take turns.

    Args:
        session: of the target.
        precisions: that the target can do.
        n: of each, those of earlier calls included.
        end_s: in seconds of the deadline, when to stop.

    Returns:
        How many were measured in this call, by precision.

    Raises:
        DeviceError: the target is out of reach; what was measured is kept.
    """
    for precision in precisions:
        _set_aside_what_no_longer_holds(session, precision)
    session.progress.phase(
        f"measuring students on {session.model.target.label}",
        sum(max(0, n - len(kept(session.folder, precision))) for precision in precisions),
    )
    queues = {precision: _jobs(session, cast(Precision, precision), n) for precision in precisions}
    n_new = dict.fromkeys(precisions, 0)
    while queues and session.deadline.elapsed_s() < end_s:
        n_kept = {one: len(kept(session.folder, one)) for one in queues}
        precision = min(queues, key=lambda one: n_kept[one])
        job = next(queues[precision], None)
        if job is None or n_kept[precision] >= n:
            del queues[precision]
            continue
        n_new[precision] += _measured(session, job, is_first=not n_new[precision])
        redo(session)
    session.model.check()
    redo(session)
    return n_new


def redo(session: Session) -> None:
    """Sets aside what a drift of the target has made worthless, and measures it again."""
    names = dict.fromkeys(session.names[artifact.digest] for artifact, _ in session.model.take_affected())
    if not names:
        return
    forget(session.folder, names)
    session.notes.append(
        f"{session.model.target.label} has drifted: a student that was measured before takes another share of the "
        f"teacher's latency now. {len(names)} students were measured again."
    )
    session.progress.note(session.notes[-1])
    for name in names:
        _measured(session, Job.named(name), is_first=False)


def _set_aside_what_no_longer_holds(session: Session, precision: str) -> None:
    """Visits some students of an earlier call again, and forgets all where none of them is what it was."""
    known = kept(session.folder, precision)
    again: list[tuple[Artifact, tuple[Visit, ...]]] = []
    for one in known[:: max(1, len(known) // N_AGAIN)][:N_AGAIN]:
        job = Job.named(one.name)
        name = f"again-{len(again)}"
        again.append((session.nursery.artifact(job.recipe, job.precision, job.first, name), one.visits))
    if len(again) == N_AGAIN and not session.model.agrees(again):
        forget(session.folder, [one.name for one in known])
        session.notes.append(
            f"{session.model.target.label} is no longer what it was when it was calibrated: {len(known)} {precision} "
            "measurements were set aside."
        )
        session.progress.note(session.notes[-1])


def _jobs(session: Session, precision: Precision, n: int) -> Iterator[Job]:
    """Students that tell most about the others, given those that are known; a few more than are wanted."""
    known = {Job.named(one.name).recipe for one in kept(session.folder, precision)}
    rest = [recipe for recipe in session.networks if recipe not in known]
    n_wanted = min(len(rest), int(SPARE * (n - len(known))) + 1)
    if n <= len(known) or not rest:
        return
    measured = [session.networks[recipe] for recipe in known if recipe in session.networks]
    chosen = choose(
        table_of(session.networks[recipe] for recipe in rest),
        n_wanted,
        session.seed,
        measured=table_of(measured) if measured else None,
    )
    for position, i in enumerate(chosen, len(known)):
        yield Job(rest[i], precision, precision == "int8" and position % OTHER_WAY == 1)


def _measured(session: Session, job: Job, is_first: bool) -> int:
    """Measures one student and keeps it; 0 where it cannot be measured.

    Raises:
        DeviceError: the target is out of reach.
    """
    try:
        # The first is a control, so its file must stay.
        name = f"control-{job.precision}" if is_first else "student"
        artifact = session.nursery.artifact(job.recipe, job.precision, job.first, name)
        network = network_of(artifact)
        latency = session.model.latency(artifact)
        shares = _kernel_shares(session, artifact, network, latency.visits)
    except DeviceError:
        raise
    except FAILURES as error:
        reason = shorten(str(error), LONGEST_REASON, placeholder=" ...")
        session.notes.append(
            f"A {job.precision} student could not be measured on {session.model.target.label}: {reason}"
        )
        return 0
    session.names[artifact.digest] = job.name
    keep(session.folder, Measurement(job.name, job.precision, network, latency.visits, shares))
    session.progress.advance()
    return 1


def _kernel_shares(
    session: Session, artifact: Artifact, network: Network, visits: tuple[Visit, ...]
) -> tuple[tuple[Kernel, float], ...]:
    """Times of single kernels, of the first few students and where the target can say them."""
    n_known = sum(bool(one.kernel_shares) for one in kept(session.folder, artifact.precision))
    if n_known >= N_KERNELS:
        return ()
    try:
        return shares_of(network, session.model.kernels(artifact), visits)
    except DeviceError:
        raise
    except LatencyError:
        return ()  # it is then learned from whole networks
