"""Optuna around the planned recipes: ask, evaluate, tell; duplicates are answered from the ledger.

The study lies in memory, as Optuna's storages cost more than a candidate does. A search that was cut off begins it
anew: with the same seed it proposes the same recipes again, and those that the ledger knows are answered at once.
"""

from collections.abc import Callable, Iterator, Sequence

import optuna

from nas.latencies import everywhere, out_of_reach
from nas.record import Record
from search_spaces.recipe import Recipe, Site

MIN_POPULATION = 8
REFUSED_RATIO = 2.0
"""Objective on a target that cannot run the student: worse than anything that can."""


def open_study(n_population: int, seed: int, n_targets: int = 1) -> optuna.Study:
    """A study: NSGA-II (Deb et al. 2002) on the validation error and the latency ratio on each target.

    Args:
        n_population: first generation; as many as there are planned recipes.
        seed: of the sampler.
        n_targets: latencies beside the error.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.NSGAIISampler(population_size=max(MIN_POPULATION, n_population), seed=seed)
    return optuna.create_study(sampler=sampler, directions=["minimize"] * (1 + n_targets))


def n_told(study: optuna.Study) -> int:
    """How many trials are over, failed ones included."""
    return sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def ask(study: optuna.Study, sites: Sequence[Site]) -> tuple[optuna.Trial, Recipe]:
    """A trial and the recipe that it proposes."""
    trial = study.ask()
    recipe = Recipe()
    for site in sites:
        choice = trial.suggest_categorical(site.name, list(site.choices))
        assert isinstance(choice, str | int)  # what went in comes out
        recipe = recipe.replace(site, choice)
    return trial, recipe


def objectives(record: Record, labels: Sequence[str] = (), sense: float = 1.0) -> list[float] | None:
    """Error and latency ratios of a record; None for a failure or where a target was out of reach.

    Args:
        record: of a student.
        labels: of the targets, in the study's order; by default the one that `record.latency` holds for.
        sense: best possible metric, so that the objective is an error.
    """
    known = everywhere(record)
    if record.accuracy is None or not known or out_of_reach(record):
        return None
    return [sense - record.accuracy, *(known[k].ratio if k in known else REFUSED_RATIO for k in labels or known)]


def tell(study: optuna.Study, trial: optuna.Trial, record: Record, labels: Sequence[str] = ()) -> None:
    """The record's scores; a failure, or a target out of reach, is told as a failed trial, never as a value."""
    trial.set_user_attr("record", record.id)
    values = objectives(record, labels)
    study.tell(trial, values, state=optuna.trial.TrialState.FAIL if values is None else None)


def enqueue(study: optuna.Study, recipes: Sequence[Recipe], sites: Sequence[Site]) -> None:
    """Puts planned recipes at the head of the queue, each once."""
    for recipe in dict.fromkeys(recipes):
        study.enqueue_trial({site.name: recipe.get(site.name, site.unchanged) for site in sites})


def explore(
    study: optuna.Study,
    sites: Sequence[Site],
    evaluate: Callable[[Recipe], Record],
    go_on: Callable[[], bool],
    labels: Sequence[str] = (),
) -> Iterator[Record]:
    """Asks, evaluates and tells for as long as `go_on` says so."""
    while go_on():
        trial, recipe = ask(study, sites)
        record = evaluate(recipe)
        tell(study, trial, record, labels)
        yield record
