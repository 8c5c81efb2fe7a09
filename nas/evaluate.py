"""Recipe to record: the only place where building, exporting, timing and scoring are put together."""

from dataclasses import replace

from latency_models.artifact import Artifact
from latency_models.errors import LatencyError
from latency_models.onnxruntime_backend import ORT_ERRORS
from nas.accuracy import score
from nas.export import export_artifact, parity
from nas.record import Record
from nas.workbench import N_PARITY, Workbench
from search_spaces.cost import cost
from search_spaces.precision import SITE as PRECISION
from search_spaces.recipe import Recipe
from search_spaces.transform import Student

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
        return known
    blank = Record(recipe=recipe, rung=rung, seed=bench.settings.seed, train_s=train_s, note=note)
    try:
        record = _scored(bench, blank, student or bench.space.build(recipe))
    except FAILURES as error:
        record = replace(blank, failure=f"{type(error).__name__}: {str(error).strip() or 'no message'}")
        bench.artifact_path(recipe, rung).unlink(missing_ok=True)
    bench.ledger.put(record)
    return record


def _scored(bench: Workbench, blank: Record, student: Student) -> Record:
    path = bench.artifact_path(blank.recipe, blank.rung)
    artifact = export_artifact(student, bench.example, bench.calibration, path)
    difference = parity(artifact, student, bench.validation.split.first(N_PARITY).inputs)
    below = bench.ledger.get(blank.recipe, blank.rung - 1) if blank.rung else None
    earlier = below.latency.visits if below is not None and below.latency is not None else ()
    on = bench.validation if blank.rung else bench.screening
    price = cost(student.module, bench.example)
    return replace(
        blank,
        accuracy=score(bench.task, artifact, on, bench.n_threads),
        latency=bench.time(artifact, earlier),
        n_parameters=price.n_parameters,
        n_macs=price.n_macs,
        size_bytes=artifact.size_bytes,
        artifact=str(path.relative_to(bench.run)),
        artifact_digest=artifact.digest,
        environment={"parity": f"{difference:.3g}", "n_validation": str(len(on.split))},
    )


def artifact_of(bench: Workbench, record: Record) -> Artifact:
    """The file that a record was timed and scored with.

    Raises:
        ValueError: it is no longer that file.
    """
    precision = "int8" if record.recipe.get(PRECISION) == "int8" else "float32"
    artifact = Artifact.from_file(bench.run / record.artifact, precision)  # type: ignore[arg-type]
    if artifact.digest != record.artifact_digest:
        raise ValueError(f"{artifact.path} is not the file that was timed and scored")
    return artifact
