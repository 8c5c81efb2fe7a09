"""The study that optuna-dashboard opens, written from records."""

from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nas.record import Record
from nas.study_file import STUDY_FILE, write_study
from search_spaces.recipe import Recipe, Site
from tests.nas.records import make_latency

SITES = {
    "channels:a": Site("channels:a", "channels", (8, 4, 2)),
    "precision": Site("precision", "precision", ("float32", "int8")),
}
RECORDS = (
    Record(Recipe(), accuracy=1.0, latency=make_latency(1.0)),
    Record(Recipe.of({"channels:a": 4}), rung=1, accuracy=0.75, latency=make_latency(0.5), train_s=2.0),
    Record(Recipe.of({"channels:a": 2, "precision": "int8"}), failure="it does not run"),
)


def opened(run: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(run / STUDY_FILE)))
    return optuna.load_study(study_name="understudy", storage=storage)


def test_a_trial_for_each_student(tmp_path: Path) -> None:
    run = tmp_path / "a run? 100% #1 ü"
    run.mkdir()
    assert write_study(RECORDS, SITES, ("cpu-1t",), run) == run / "study.journal"
    study = opened(run)
    assert study.metric_names == ["error", "latency on cpu-1t"]
    trained, failed = study.get_trials()
    assert trained.params == {"channels:a": 4, "precision": "float32"}
    assert trained.values == [0.25, make_latency(0.5).ratio]
    assert trained.user_attrs["rung"] == 1
    assert trained.user_attrs["train_s"] == 2.0
    assert failed.state.name == "FAIL"
    assert failed.params == {"channels:a": 2, "precision": "int8"}


def test_it_replaces_the_one_before(tmp_path: Path) -> None:
    for _ in range(2):
        write_study(RECORDS, SITES, ("cpu-1t",), tmp_path)
    assert len(opened(tmp_path).get_trials()) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["study.journal"]
