"""The run's records as an Optuna study, for optuna-dashboard: `study.journal`, written whole when a run is finished."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.record import Record
from nas.strategies.explore import objectives
from search_spaces.recipe import Choice, Site

STUDY_FILE = "study.journal"
STUDY_NAME = "understudy"


def write_study(records: Sequence[Record], sites: Mapping[str, Site], labels: Sequence[str], run: Path) -> Path:
    """Writes `study.journal` with a trial for each student, in place of the one there, and returns its path.

    The values are the validation error and the latency ratio on each target; `rung`, `train_s`, `note` and `record`
    are user attributes.

    Args:
        records: of the run.
        sites: of the teacher, by name.
        labels: of the targets.
        run: its folder.
    """
    # A run that was resumed with other settings has records with choices that are no longer offered.
    found = {name: [record.recipe[name] for record in records if name in record.recipe] for name in sites}
    seen = {name: tuple(dict.fromkeys((*site.choices, *found[name]))) for name, site in sites.items()}
    path, beside = run / STUDY_FILE, run / f".{STUDY_FILE}.tmp"
    beside.unlink(missing_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage = JournalStorage(JournalFileBackend(str(beside)))
        n_objectives = 1 + len(labels)
        study = optuna.create_study(storage=storage, study_name=STUDY_NAME, directions=["minimize"] * n_objectives)
        study.set_metric_names(["error", *(f"latency on {label}" for label in labels)])
        study.add_trials([_trial(record, seen, labels) for record in records if record.recipe])
    beside.replace(path)
    return path


def _trial(record: Record, choices: Mapping[str, tuple[Choice, ...]], labels: Sequence[str]) -> FrozenTrial:
    values = objectives(record, labels)
    return create_trial(
        state=TrialState.FAIL if values is None else TrialState.COMPLETE,
        values=values,
        params={name: record.recipe.get(name, known[0]) for name, known in choices.items()},
        distributions={name: CategoricalDistribution(known) for name, known in choices.items()},
        user_attrs={"record": record.id, "rung": record.rung, "train_s": record.train_s, "note": record.note},
    )
