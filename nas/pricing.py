"""What layers cost on each target: the students that are timed to learn it, and the prices."""

from latency_models.errors import LatencyError
from latency_models.kernel import KernelTime
from nas.evaluate import artifact_of, evaluate_and_report, in_precision, precisions
from nas.first_precision import decide_first_layers
from nas.latencies import everywhere
from nas.record import Record
from nas.shares import has_time_to_plan, training_end_s
from nas.strategies.depths import depths
from nas.strategies.designs import designs
from nas.strategies.planner import Losses
from nas.strategies.prices import Priced, Prices, guess, learn, parts_of
from nas.workbench import Workbench, time_is_before
from search_spaces.estimate import CostIndex
from search_spaces.precision import SITE as PRECISION
from search_spaces.recipe import Recipe

PROFILE_UNTIL = 0.15
"""Share of the time budget at which no more students are timed for prices than they need."""
N_PRICED = (8, 1)
"""Designs that prices are learned from at the least: in other precisions, and in float32, as the teacher is too."""
FAR_FASTER = 0.5
"""Where another precision takes so little of the teacher's latency, float32 is priced only if there is time."""

PriceTables = dict[tuple[str, str], Prices]
"""By target (label) and precision."""


def prices_of(bench: Workbench, losses: Losses) -> PriceTables:
    """A price table for each target and precision, from students that are timed end to end.

    Args:
        bench: of the run.
        losses: site to choice to loss; of blocks at least, as some students have fewer of them.
    """
    costs = CostIndex.of(bench.space, bench.teacher_cost)
    todo = designs(bench.space, bench.seeded("designs"))
    first = todo[0]
    bench.progress.phase("pricing layers on the target", len(todo) * len(precisions(bench)))
    decide_first_layers(bench, first)
    for precision in precisions(bench)[1:]:
        evaluate_and_report(bench, in_precision(bench, Recipe(), precision), "the teacher's architecture")
    took_s = _time_design(bench, 0, first, 0.0)
    todo = designs(bench.space, bench.seeded("designs"), _depths(bench, costs, losses, first))
    for index, architecture in enumerate((one for one in todo if one != first), 1):
        took_s = max(took_s, _time_design(bench, index, architecture, took_s))
    if not has_time_to_plan(bench):
        return {}
    prices: PriceTables = {}
    for label in bench.models:
        for precision in precisions(bench):
            known = _priced(bench, costs, label, precision)
            if len(known) > 1:  # one is the teacher's architecture
                prices[label, precision] = learn(known)
                error = 100 * prices[label, precision].error
                where = f" on {label}" if len(bench.models) > 1 else ""
                bench.progress.note(f"{precision} prices{where}: median error {error:.1f} % over {len(known)} students")
    return prices


def _priced(bench: Workbench, costs: CostIndex, label: str, precision: str) -> list[Priced]:
    """The students in a precision that have been timed on a target."""
    return [
        Priced(costs.layers(r.recipe), everywhere(r)[label].ratio, _parts(bench, r, label, costs))
        for r in bench.ledger.records()
        if r.failure is None and label in everywhere(r) and r.recipe.get(PRECISION, "float32") == precision
    ]


def _depths(bench: Workbench, costs: CostIndex, losses: Losses, first: Recipe) -> list[Recipe]:
    """Recipes of dropped blocks, as guessed from the first design; worked out once a run."""
    known = bench.ledger.get_fact("depths")
    if known is None:
        record = bench.ledger.get(in_precision(bench, first, precisions(bench)[-1]), 0)
        if record is None or not everywhere(record):
            return [Recipe()]
        guesses = [
            guess(Priced(costs.layers(first), latency.ratio, _parts(bench, record, label, costs)))
            for label, latency in everywhere(record).items()
        ]
        found = depths(
            list(bench.space.sites.values()),
            losses,
            lambda recipe: sum(one(costs.layers(recipe)) for one in guesses),
            first,
        )
        known = [recipe.to_json() for recipe in found]
        bench.ledger.set_fact("depths", known)
    return [Recipe.from_json(text) for text in known]


def _time_design(bench: Workbench, index: int, architecture: Recipe, likely_s: float) -> float:
    """Times and scores a design in the precisions that there is time for, and the first one's kernels one by one; the
    seconds that it took."""
    started_s = bench.deadline.elapsed_s()
    for precision in precisions(bench):
        if _is_timed(bench, index, precision, likely_s):
            record = evaluate_and_report(bench, in_precision(bench, architecture, precision), "priced")
            if index == 0:
                _time_kernels(bench, record)
    return bench.deadline.elapsed_s() - started_s


def _is_timed(bench: Workbench, index: int, precision: str, likely_s: float) -> bool:
    """Whether a design is timed: what plans need, or without a plan what students are trained from."""
    if has_time_to_plan(bench):
        return time_is_before(bench, PROFILE_UNTIL) or index < _n_priced(bench, precision)
    is_early = bench.deadline.elapsed_s() + likely_s < training_end_s(bench)
    is_wanted = index < N_PRICED[0] or time_is_before(bench, PROFILE_UNTIL)
    return precision == precisions(bench)[-1] and (index == 0 or (is_early and is_wanted))


def _n_priced(bench: Workbench, precision: str) -> int:
    """Designs that are timed in a precision however little time there is."""
    if precision != "float32":
        return N_PRICED[0]
    return 0 if _is_far_faster(bench) else N_PRICED[1]


def _is_far_faster(bench: Workbench) -> bool:
    """Whether the teacher's architecture is far faster in another precision on every target."""
    others = [bench.ledger.get(in_precision(bench, Recipe(), precision), 0) for precision in precisions(bench)[1:]]
    latencies = [everywhere(record) for record in others if record is not None]
    return all(
        any(label in found and found[label].ratio <= FAR_FASTER for found in latencies) for label in bench.models
    )


def _time_kernels(bench: Workbench, record: Record) -> None:
    """Times a student's kernels one by one where a target can: end to end alone, few students tell little of layers."""
    if record.failure is not None:
        return
    for label, model in bench.models.items():
        key = f"kernels:{record.id}:{label}"
        if label not in everywhere(record) or bench.ledger.get_fact(key) is not None:
            continue
        try:
            kernels = model.kernels(artifact_of(bench, record))
        except LatencyError:
            continue  # prices are then learned from whole networks
        bench.ledger.set_fact(key, [[list(kernel.shape), kernel.seconds] for kernel in kernels])


def _parts(bench: Workbench, record: Record, label: str, costs: CostIndex) -> dict[int, float]:
    known = bench.ledger.get_fact(f"kernels:{record.id}:{label}")
    if known is None:
        return {}
    kernels = [KernelTime("", "", float(seconds), shape=tuple(shape)) for shape, seconds in known]
    return parts_of(kernels, costs.layers(record.recipe))
