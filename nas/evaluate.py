"""Recipe to record: the only place where building, exporting, timing and scoring are put together."""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

from latency_models.artifact import Artifact, Precision
from latency_models.errors import LatencyError
from latency_models.onnxruntime_backend import ORT_ERRORS
from nas.accuracy import growing_score
from nas.bar import bar
from nas.export import export_artifact, opened, parity
from nas.latencies import out_of_reach, refused_everywhere, timed
from nas.record import Record
from nas.workbench import N_PARITY, Workbench, budget_ratio
from search_spaces.cost import cost
from search_spaces.precision import SITE as PRECISION
from search_spaces.recipe import Recipe
from search_spaces.transform import Student

FLOAT32_FIRST = "float32_first"
"""The fact that says whether int8 files keep the layers that read the inputs in float32."""
FAILURES = (ValueError, RuntimeError, ArithmeticError, TypeError, IndexError, LatencyError, *ORT_ERRORS)
"""What a candidate may fail with; anything else is a fault of ours and stops the search."""


def architecture_of(recipe: Recipe) -> Recipe:
    """The recipe without its precision: what is trained once and exported in every precision."""
    return Recipe.of({name: choice for name, choice in recipe.items() if name != PRECISION})


def in_precision(bench: Workbench, architecture: Recipe, precision: str) -> Recipe:
    """The architecture's recipe in a precision."""
    site = bench.space.sites.get(PRECISION)
    return architecture if site is None else architecture.replace(site, precision)


def precisions(bench: Workbench) -> tuple[str, ...]:
    """The precisions on offer, float32 first."""
    site = bench.space.sites.get(PRECISION)
    return ("float32",) if site is None else tuple(str(choice) for choice in site.choices)


def evaluate(
    bench: Workbench,
    recipe: Recipe,
    rung: int = 0,
    student: Student | None = None,
    train_s: float = 0.0,
    note: str = "",
) -> Record:
    """Scores a recipe and writes its record to the ledger; what the ledger knows already is returned from there.

    Args:
        bench: of the run.
        recipe: of the run's search space.
        rung: 0 for a repaired student.
        student: with the weights of that rung; built and repaired where it is not given.
        train_s: seconds of distillation behind the weights.
        note: how the recipe came about.

    Returns:
        The record; a candidate that failed has the failure instead of scores.
    """
    known = bench.ledger.get(recipe, rung)
    if known is not None:
        return _asked_again(bench, known)
    blank = Record(recipe=recipe, rung=rung, seed=bench.settings.seed, train_s=train_s, note=note)
    try:
        record = _scored(bench, blank, student or repaired(bench, recipe))
    except FAILURES as error:
        record = replace(blank, failure=f"{type(error).__name__}: {str(error).strip() or 'no message'}")
        bench.artifact_path(recipe, rung).unlink(missing_ok=True)
    bench.ledger.put(record)
    return record


def repaired(bench: Workbench, recipe: Recipe) -> Student:
    """The repaired student of a recipe; one of the same architecture is not built and repaired again."""
    architecture = architecture_of(recipe)
    known = bench.kept.students.get(architecture)
    if known is None:
        known = bench.space.build(architecture)
        bench.kept.keep_student(architecture, known)
    return replace(known, precision=cast(Precision, recipe.get(PRECISION, "float32")))


def _asked_again(bench: Workbench, known: Record) -> Record:
    """What the ledger knows, with the latencies of targets that were out of reach where they have come back."""
    away = out_of_reach(known)
    if not away or known.failure is not None:
        return known
    below = bench.ledger.get(known.recipe, known.rung - 1) if known.rung else None
    record = timed(bench.models, artifact_of(bench, known), known, below, labels=away)
    if record != known:
        bench.ledger.put(record)
    return record


def _scored(bench: Workbench, blank: Record, student: Student) -> Record:
    path = bench.artifact_path(blank.recipe, blank.rung)
    template = bench.kept.template_of(bench.task.teacher, bench.example)
    float32_first = bool(bench.ledger.get_fact(FLOAT32_FIRST))
    artifact = export_artifact(student, bench.example, bench.calibration, path, template, float32_first)
    session = opened(artifact, bench.n_threads)
    off = parity(artifact, student, bench.validation.split.first(N_PARITY).inputs, session)
    price = cost(student.module, bench.example)
    record = replace(
        blank,
        n_parameters=price.n_parameters,
        n_macs=price.n_macs,
        size_bytes=artifact.size_bytes,
        artifact=str(path.relative_to(bench.run)),
        artifact_digest=artifact.digest,
    )
    below = bench.ledger.get(blank.recipe, blank.rung - 1) if blank.rung else None
    record = timed(bench.models, artifact, record, below, spare=True)
    if refused_everywhere(record):
        raise ValueError("; ".join(f"{label}: {reason}" for label, reason in record.refusals.items()))
    on = bench.validation if blank.rung else bench.screening
    found = growing_score(bench.task, session, on, bar(bench.ledger.records(), record))
    environment = {"parity": f"{off:.3g}", "n_validation": str(found.n_samples)}
    return replace(record, accuracy=found.value, environment=environment)


def artifact_of(bench: Workbench, record: Record) -> Artifact:
    """The file that a record was timed and scored with.

    Raises:
        ValueError: it is no longer that file.
    """
    precision = cast(Precision, record.recipe.get(PRECISION, "float32"))
    artifact = Artifact.from_file(bench.run / record.artifact, precision)
    if artifact.digest != record.artifact_digest:
        raise ValueError(f"{artifact.path} is not the file that was timed and scored")
    return artifact


def evaluate_and_report(bench: Workbench, recipe: Recipe, note: str) -> Record:
    """`evaluate` for a repaired student, with progress."""
    record = evaluate(bench, recipe, note=note)
    report(bench, [record])
    return record


def report(bench: Workbench, records: Iterable[Record]) -> None:
    """Progress, what is lost, and the best so far: the most accurate that meets the budget on the first target."""
    records = list(records)
    for record in records:
        for label in out_of_reach(record):
            bench.progress.note_once(
                label, f"{label} is {record.refusals[label]} Its latencies are left open meanwhile."
            )
    bench.progress.advance(n_failed=sum(record.failure is not None for record in records))
    limit = budget_ratio(bench, next(iter(bench.models)))
    for record in records:
        if record.ok and record.latency is not None and record.latency.ratio_high <= limit:
            bench.progress.candidate(record.id, record.accuracy or 0.0, record.latency.ratio, record.latency.source)
    beat(bench)


def beat(bench: Workbench) -> None:
    """Redraws the progress and, every few seconds, writes down how much time is used."""
    bench.progress.advance(0)
    unsaved_s = bench.deadline.elapsed_s() - bench.ledger.elapsed_s()
    if unsaved_s > 5.0:
        bench.ledger.add_elapsed(unsaved_s)
