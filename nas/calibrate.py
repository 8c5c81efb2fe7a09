"""`nas calibrate`: measures students of a teacher on a target, and learns to predict the latency of others."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import RenderableType

from latency_models.cache import user_folder
from latency_models.calibration import FOLDER, Measurement, folder_of, forget, kept, predictor_path, reference_s
from latency_models.drift import Watched
from latency_models.errors import LatencyError
from latency_models.measured import Measured
from latency_models.precisions import offered
from latency_models.predict.features import table_of
from latency_models.predict.kernels import Network
from latency_models.predict.learned import learn
from latency_models.predict.saved import save
from latency_models.predicted import ANCHOR_S, LEAST
from nas.calibrate_measure import Session, measure_all
from nas.calibrate_students import N_POOL, Nursery, described, nursery, proposals
from nas.config import Settings
from nas.deadline import Deadline
from nas.errors import UserError
from nas.export import feed
from nas.progress import Progress
from nas.teacher import Task
from search_spaces.recipe import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_STUDENTS = 40
"""Measured in each precision where nothing else is asked for."""
N_FOLDS = 5
"""Parts, each of which is predicted from the others to tell the error."""


@dataclass(frozen=True)
class Learnt:
    """What is known of one precision on one target.

    Attributes:
        target: label.
        precision: of the students.
        n_measured: students that were measured, those of earlier calls included.
        n_new: of them, measured in this call.
        error: median relative error on students that were left out.
        within_10: share of them within 10 %.
        covered: share of them inside of their 90 % interval.
        path: the predictor's file, None where too few have been measured.
    """

    target: str
    precision: str
    n_measured: int
    n_new: int
    error: float = float("nan")
    within_10: float = float("nan")
    covered: float = float("nan")
    path: Path | None = None


@dataclass(frozen=True)
class Calibration:
    """What `nas calibrate` brought; `rich` prints it.

    Attributes:
        settings: of the call.
        learnt: by target and precision.
        notes: drifts, students and targets that could not be measured.
        timed_out: whether time ran out before all students were measured.
    """

    settings: Settings
    learnt: tuple[Learnt, ...]
    notes: tuple[str, ...] = ()
    timed_out: bool = False

    def __rich__(self) -> RenderableType:
        from nas.calibrate_table import shown

        return shown(self)


def calibrate(
    task: Task,
    settings: Settings,
    n: int,
    deadline: Deadline,
    progress: Progress,
    fresh: bool = False,
    root: Path | None = None,
) -> Calibration:
    """Measures until there are n students of each precision on each target, or time is up, and learns from them.

    Each measurement is kept as it comes: a calibration that was cut off goes on where it stopped, and one with a larger
    n adds to it.

    Args:
        task: teacher and data.
        settings: targets, precisions, transforms, seed.
        n: students of each precision.
        deadline, progress: of the calibration.
        fresh: forget what was measured before.
        root: of the files, instead of the user's cache folder.

    Raises:
        UserError: a target that is an estimate, too few students, a teacher with nothing to change, or no target could
            be measured.
        LatencyError: files in the cache are damaged.
    """
    _refuse(settings, n)
    progress.phase("finding what can be changed")
    precisions, _ = offered(settings.precision, settings.targets)
    learnt: list[Learnt] = []
    notes: list[str] = []
    with nursery(task, settings, precisions) as built:
        progress.phase("describing students")
        networks = _candidates(built, settings.seed, max(N_POOL, 2 * n))
        for number, target in enumerate(settings.targets):
            end_s = deadline.elapsed_s() + deadline.left_s() / (len(settings.targets) - number)
            try:
                with closing(Watched(Measured(target, built.anchor, feed(task.data.example), settings.seed))) as model:
                    folder = folder_of(target.label, model.environment(), built.anchor, root or user_folder() / FOLDER)
                    session = Session(built, model, folder, networks, progress, deadline, settings.seed, notes)
                    learnt += _on_target(session, precisions, n, end_s, fresh)
            except LatencyError as error:
                notes.append(f"{target.label}: {error} What was measured is kept.")
    if not learnt:
        raise UserError(f"No target could be measured. {' '.join(notes)}", "`nas targets` says what is missing.")
    missing = any(one.n_measured < min(n, len(networks)) for one in learnt)
    return Calibration(settings, tuple(learnt), tuple(notes), missing and deadline.expired())


def _candidates(built: Nursery, seed: int, n: int) -> dict[Recipe, Network]:
    """Students to choose from, with their kernels."""
    found = described(built, proposals(built.space, np.random.default_rng(seed), n))
    if not found:
        raise UserError("There is nothing to change in this teacher.", "Calibrate a network with hidden layers.")
    return found


def _on_target(session: Session, precisions: Sequence[str], n: int, end_s: float, fresh: bool) -> list[Learnt]:
    """Measures on one target and learns, until `end_s` of the deadline."""
    if fresh:
        forget(session.folder, [one.name for one in kept(session.folder)])
    usable = tuple(one for one in precisions if session.model.refusal(one) is None)
    n_new = measure_all(session, usable, n, end_s)
    session.progress.phase("learning")
    return [_learnt(session, one, n_new[one]) for one in usable]


def left_out(measured: Sequence[Measurement]) -> tuple["NDArray[np.float64]", "NDArray[np.bool_]"]:
    """(n,) relative errors of students that are predicted from the others, and whether their 90 % interval holds them.

    Args:
        measured: of one precision, enough to learn from with a part left out.

    Raises:
        LatencyError: too few.
    """
    anchor_s = reference_s(measured)
    samples = [one.sample(anchor_s) for one in measured]
    folds = np.arange(len(samples)) % min(N_FOLDS, len(samples))
    errors, covered = np.zeros(len(samples)), np.zeros(len(samples), dtype=np.bool_)
    for fold in np.unique(folds):
        left = np.flatnonzero(folds == fold)
        predictor = learn([one for one, part in zip(samples, folds, strict=True) if part != fold], "left out")
        found = predictor.predict(table_of(samples[i].network for i in left))
        truth = np.array([samples[i].seconds for i in left])
        errors[left] = np.abs(found.seconds / truth - 1)
        covered[left] = (found.low_s <= truth) & (truth <= found.high_s)
    return errors, covered


def _refuse(settings: Settings, n: int) -> None:
    if n < LEAST:
        raise UserError(f"{n} students are too few to learn from.", f"Ask for at least {LEAST}, e.g. --n {N_STUDENTS}.")
    estimated = [target.label for target in settings.targets if target.access == "estimate"]
    if estimated:
        raise UserError(
            f"The target {estimated[0]} is an estimate, so there is nothing to measure.",
            "Name targets that are measured; `nas targets` shows them.",
        )


def _learnt(session: Session, precision: str, n_new: int) -> Learnt:
    """Learns from what was measured, saves the predictor, and tells its error."""
    measured = kept(session.folder, precision)
    label = session.model.target.label
    if len(measured) < LEAST:
        return Learnt(label, precision, len(measured), n_new)
    anchor_s = reference_s(measured)
    environment = {**session.model.environment(), ANCHOR_S: repr(anchor_s)}
    predictor = learn([one.sample(anchor_s) for one in measured], label, environment)
    path = predictor_path(session.folder, precision)
    save(predictor, path)
    errors, covered = left_out(measured)
    figures = float(np.median(errors)), float((errors <= 0.1).mean()), float(covered.mean())
    return Learnt(label, precision, len(measured), n_new, *figures, path)
