"""`nas explain`: a student's kernels timed on a target beside the teacher's, and why it is, or is not, faster."""

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult

from latency_models.cache import user_folder
from latency_models.ceilings import Ceilings, ceilings
from latency_models.explain import Explanation
from latency_models.explain import explain as compare
from latency_models.explaining.matching import Profile
from latency_models.host import host_processor
from latency_models.kernel import KernelTime
from latency_models.latency import Latency
from latency_models.open import open_model
from latency_models.precisions import refusal
from latency_models.profiles import resolve
from latency_models.target import Target
from latency_models.timing import Plan
from nas.errors import UserError
from nas.onnx_files import any_feed, read_network, shared_inputs

if TYPE_CHECKING:
    from nas.record import Record
    from nas.run import Run

N_ROUNDS = 5
"""Profiles of student and teacher in turn; a kernel's time is its median over them."""
PLAN = Plan(n_pairs=48)
SEED = 0
TEACHER = "teacher.onnx"
FLOAT32_BITS = 32


@dataclass(frozen=True)
class Report:
    """Why a student is, or is not, faster; `rich` prints it.

    Attributes:
        student, teacher: how the user named them.
        target: where.
        latency: the student's, end to end, beside the teacher's.
        explanation: kernels, findings and summary.
        ceilings: of this machine, None where the target is another one.
        spread: how far apart the sums of the student's kernels lie from round to round, as a share of their median.
    """

    student: str
    teacher: str
    target: Target
    latency: Latency
    explanation: Explanation
    ceilings: Ceilings | None
    spread: float = 0.0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from nas.explain_table import shown

        yield shown(self, options.max_width)


def explain(
    place: Path,
    which: str,
    target: Target,
    cache: Path | None = None,
    n_rounds: int = N_ROUNDS,
    fresh: bool = False,
) -> Report:
    """Times and compares.

    The inputs are random numbers in the shapes that the ONNX files declare, batch 1: which numbers they are does not
    matter to the time of the networks that a search makes.

    Args:
        place: a run's folder, or the teacher's ONNX file.
        which: an id of the run or its unique start, or the student's ONNX file. Of two files the one that is called
            teacher.onnx is the teacher's, whichever comes first.
        target: what the times hold for.
        cache: folder for the machine's ceilings; by default the user's.
        n_rounds: visits and profiles of both networks in turn; an estimate needs one.
        fresh: measure the machine's ceilings again; all else always is.

    Raises:
        UserError: no such run, id or file; no ONNX networks; their inputs differ.
        LatencyError: the target cannot run one of them.
    """
    student_path, teacher_path, student_name, teacher_name = _named(place, which)
    networks = [read_network(path) for path in (teacher_path, student_path)]
    teacher, student = (network.artifact for network in networks)
    feed = any_feed(shared_inputs(networks), SEED)
    with closing(open_model(target, teacher, feed, SEED, PLAN)) as model:
        mine, theirs = list[list[KernelTime]](), list[list[KernelTime]]()
        latency: Latency | None = None
        for _ in range(1 if target.access == "estimate" else n_rounds):
            latency = model.latency(student, latency.visits if latency is not None else ())
            mine.append(model.kernels(student))
            theirs.append(model.kernels(teacher))
    assert latency is not None
    profiles = [
        Profile(merged(mine), latency.median_s),
        Profile(merged(theirs), latency.median_s / latency.ratio),
    ]
    here = target.access == "local" and target.device == "cpu"
    found = ceilings(cache or user_folder(), target.n_threads, fresh) if here else None
    explanation = compare(profiles[0], profiles[1], vector_step(target), found)
    return Report(student_name, teacher_name, target, latency, explanation, found, spread(mine))


def default_target(place: Path, which: str, n_threads: int | None = None) -> Target:
    """Where to explain unless the user says: the run's first target that computes in the student's precision.

    Args:
        place, which: as for `explain`; without a run it is this machine's processor.
        n_threads: of one inference; by default the run's, or the target's own.

    Raises:
        UserError: no such run or id.
    """
    if not place.is_dir():
        return resolve("cpu", n_threads)
    from nas.run import Run  # loads torch

    run = Run.open(place)
    precision = read_network(run.artifact_file(record_of(run, which))).artifact.precision
    targets = [resolve(spec, n_threads or run.settings.n_threads or None) for spec in run.settings.target]
    return next((one for one in targets if refusal(one, precision) is None), targets[0])


def spread(rounds: Sequence[Sequence[KernelTime]]) -> float:
    """How far apart the rounds' sums lie, as a share of their median."""
    sums = [math.fsum(kernel.seconds for kernel in one) for one in rounds]
    return (max(sums) - min(sums)) / median(sums) if median(sums) else 0.0


def merged(rounds: Sequence[Sequence[KernelTime]]) -> tuple[KernelTime, ...]:
    """The kernels of the first profile with the median of their times over all."""
    taken = [{kernel.name: kernel.seconds for kernel in one} for one in rounds]
    return tuple(
        replace(kernel, seconds=median(one[kernel.name] for one in taken if kernel.name in one)) for kernel in rounds[0]
    )


def vector_step(target: Target) -> int:
    """Channels of float32 in a vector register of the target's cores; 0 on a GPU."""
    if target.device != "cpu":
        return 0
    processor = target.processor or host_processor()
    return processor.vector_bits // FLOAT32_BITS


def _named(place: Path, which: str) -> tuple[Path, Path, str, str]:
    """Student's and teacher's file, and what they are called."""
    if place.is_dir():
        from nas.run import Run  # loads torch

        run = Run.open(place)
        record = record_of(run, which)
        return run.artifact_file(record), run.artifact_file(run.teacher), record.id, "teacher"
    if not place.exists():
        remedy = "Name a folder in results/, or the teacher's ONNX file."
        raise UserError(f"There is no run and no file {place}.", remedy)
    student, teacher = (place, Path(which)) if Path(which).name == TEACHER else (Path(which), place)
    names = (str(student), str(teacher)) if student.name == teacher.name else (student.name, teacher.name)
    return student, teacher, *names


def record_of(run: "Run", which: str) -> "Record":
    """The record with this id, or whose id alone begins so, that has an artifact.

    Raises:
        UserError: there is none, or more than one.
    """
    found = [record for record in run.records if record.id.startswith(which)] if which else []
    exact = [record for record in found if record.id == which]
    found = exact or [record for record in found if record.artifact]
    if len(found) == 1 and found[0].artifact:
        return found[0]
    if len(found) > 1:
        some = ", ".join(one.id for one in found[:5])
        raise UserError(f"{which} begins several ids: {some}.", "Give more of the id.")
    if exact:
        raise UserError(f"{which} has no artifact: {exact[0].failure}.", "Choose a student that was timed.")
    some = ", ".join([record.id for record in run.records if record.artifact and record.recipe][:3]) or "none"
    remedy = f"Some of its students: {some}; `nas front {run.folder}` shows the best."
    raise UserError(f"{run.folder} has no student {which}.", remedy)
