"""Optuna around the planned recipes: ask, evaluate, tell; duplicates are answered from the ledger."""

import warnings
from collections.abc import Callable, Iterator, Sequence

import optuna

from nas.record import Record
from search_spaces.recipe import Recipe, Site

MIN_POPULATION = 8


def open_study(url: str, n_population: int, seed: int) -> optuna.Study:
    """The run's study: NSGA-II (Deb et al. 2002) on the validation error and the latency ratio.

    Args:
        url: of the SQLite file; a study that is there already is continued.
        n_population: first generation; as many as there are planned recipes.
        seed: of the sampler.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.NSGAIISampler(population_size=max(MIN_POPULATION, n_population), seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.create_study(
            storage=url,
            study_name="understudy",
            sampler=sampler,
            directions=["minimize", "minimize"],
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


def tell(study: optuna.Study, trial: optuna.Trial, record: Record, sense: float = 1.0) -> None:
    """The record's scores; a failure is told as one, never as a value.

    Args:
        study, trial: from `ask`.
        record: of the trial's recipe.
        sense: best possible metric, so that the objective is an error.
    """
    trial.set_user_attr("record", record.id)
    if record.accuracy is None or record.latency is None:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, [sense - record.accuracy, record.latency.ratio])


def enqueue(study: optuna.Study, recipes: Sequence[Recipe], sites: Sequence[Site]) -> None:
    """Puts planned recipes at the head of the queue; those that are there already are passed over."""
    for recipe in recipes:
        choices = {site.name: recipe.get(site.name, site.unchanged) for site in sites}
        study.enqueue_trial(choices, skip_if_exists=True)


def explore(
    study: optuna.Study, sites: Sequence[Site], evaluate: Callable[[Recipe], Record], go_on: Callable[[], bool]
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
        tell(study, trial, record)
        yield record
