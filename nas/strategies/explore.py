"""Optuna around the planned recipes: ask, evaluate, tell; duplicates are answered from the ledger."""

import warnings
from collections.abc import Callable, Iterator, Sequence

import optuna

from nas.latencies import everywhere, out_of_reach
from nas.record import Record
from search_spaces.recipe import Recipe, Site

MIN_POPULATION = 8
REFUSED_RATIO = 2.0
"""Objective on a target that cannot run the student: worse than anything that can."""


def open_study(url: str, n_population: int, seed: int, n_targets: int = 1) -> optuna.Study:
    """The run's study: NSGA-II (Deb et al. 2002) on the validation error and the latency ratio on each target.

    Args:
        url: of the SQLite file; a study that is there already is continued.
        n_population: first generation; as many as there are planned recipes.
        seed: of the sampler.
        n_targets: latencies beside the error.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.NSGAIISampler(population_size=max(MIN_POPULATION, n_population), seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.create_study(
            storage=url,
            study_name="understudy",
            sampler=sampler,
            directions=["minimize"] * (1 + n_targets),
            load_if_exists=True,
        )


def ask(study: optuna.Study, sites: Sequence[Site]) -> tuple[optuna.Trial, Recipe]:
    """A trial and the recipe that it proposes."""
    trial = study.ask()
    recipe = Recipe()
    for site in sites:
        choice = trial.suggest_categorical(site.name, list(site.choices))
        assert isinstance(choice, str | int)  # what went in comes out
        recipe = recipe.replace(site, choice)
    return trial, recipe


def tell(
    study: optuna.Study, trial: optuna.Trial, record: Record, labels: Sequence[str] = (), sense: float = 1.0
) -> None:
    """The record's scores; a failure, or a target out of reach, is told as a failed trial, never as a value.

    Args:
        study, trial: from `ask`.
        record: of the trial's recipe.
        labels: of the targets, in the study's order; by default the one that `record.latency` holds for.
        sense: best possible metric, so that the objective is an error.
    """
    trial.set_user_attr("record", record.id)
    known = everywhere(record)
    if record.accuracy is None or not known or out_of_reach(record):
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return
    ratios = [known[label].ratio if label in known else REFUSED_RATIO for label in labels or known]
    study.tell(trial, [sense - record.accuracy, *ratios])


def enqueue(study: optuna.Study, recipes: Sequence[Recipe], sites: Sequence[Site]) -> None:
    """Puts planned recipes at the head of the queue; those that are there already are passed over."""
    for recipe in recipes:
        choices = {site.name: recipe.get(site.name, site.unchanged) for site in sites}
        study.enqueue_trial(choices, skip_if_exists=True)


def explore(
    study: optuna.Study,
    sites: Sequence[Site],
    evaluate: Callable[[Recipe], Record],
    go_on: Callable[[], bool],
    labels: Sequence[str] = (),
) -> Iterator[Record]:
    """Asks, evaluates and tells for as long as `go_on` says so.

    Trials that a killed process left open are closed and asked again: the ledger may or may not have their records.
    """
    for left_open in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        study.tell(left_open.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(left_open.system_attrs.get("fixed_params", left_open.params))
    while go_on():
        trial, recipe = ask(study, sites)
        record = evaluate(recipe)
        tell(study, trial, record, labels)
        yield record
