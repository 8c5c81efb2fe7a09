import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_models.latency import Latency, Visit
from nas.errors import UserError
from nas.ledger import open_ledger
from nas.record import Record
from search_spaces.recipe import Recipe

LATENCY = Latency(
    0.1 + 0.2,
    1e-300,
    0.7,
    1 / 3,
    0.3,
    0.4,
    "measured",
    "cpu-1t",
    (Visit((0.1 + 0.2, 5e-324), (0.1, 1.7976931348623157e308)), Visit((1 / 3,), (2 / 3,))),
    {"cpu": "x", "threads": "1"},
)
FULL = Record(
    Recipe.of({"channels:a": 8, "precision:b": "int8"}),
    rung=2,
    accuracy=0.1 + 0.2,
    test_accuracy=1 / 3,
    latency=LATENCY,
    n_parameters=10**12,
    n_macs=2**62,
    size_bytes=1,
    artifact="artifacts/ü.onnx",
    artifact_digest="ab" * 32,
    seed=2**32 - 1,
    train_s=12.5,
    note="planned; for '30%'",
    environment={"torch": "2.13"},
)
FAILED = Record(Recipe.of({"depth:a": "drop"}), failure="ValueError: NaN\nin the outputs")
TEACHER = Record(Recipe(), accuracy=1.0, latency=LATENCY)

finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
visits = st.lists(finite, min_size=1, max_size=3).map(lambda samples: Visit(tuple(samples), tuple(samples[::-1])))
latencies = st.builds(
    Latency,
    *[finite] * 6,
    st.sampled_from(["measured", "predicted"]),
    words,
    st.lists(visits, max_size=2).map(tuple),
    st.dictionaries(words, words, max_size=2),
)
whole = st.integers(0, 2**63 - 1)
records = st.builds(
    Record,
    recipe=st.dictionaries(words, words | st.integers(), max_size=3).map(Recipe.of),
    rung=st.integers(0, 9),
    failure=st.none() | words,
    accuracy=st.none() | finite,
    test_accuracy=st.none() | finite,
    latency=st.none() | latencies,
    n_parameters=whole,
    n_macs=whole,
    size_bytes=whole,
    artifact=words,
    artifact_digest=words,
    seed=whole,
    train_s=finite,
    note=words,
    environment=st.dictionaries(words, words, max_size=2),
)


def test_records_come_back_as_they_were_in_order_of_insertion(tmp_path: Path) -> None:
    with open_ledger(tmp_path, create=True) as ledger:
        for record in (FULL, FAILED, TEACHER):
            ledger.put(record)
        assert ledger.records() == [FULL, FAILED, TEACHER]
    with open_ledger(tmp_path, create=False) as ledger:
        assert ledger.records() == [FULL, FAILED, TEACHER]
        assert ledger.get(FULL.recipe, 2) == FULL
        assert ledger.get(FULL.recipe, 1) is None
        assert ledger.has(Recipe(), 0)
        assert not ledger.has(Recipe(), 1)
        assert ledger.has(FAILED.recipe, 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(records, max_size=3, unique_by=lambda record: (record.recipe.digest, record.rung)))
def test_any_sound_record_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, given: list[Record]) -> None:
    with open_ledger(tmp_path_factory.mktemp("run"), create=True) as ledger:
        for record in given:
            ledger.put(record)
        assert ledger.records() == given


def test_a_second_put_replaces_in_place(tmp_path: Path) -> None:
    better = Record(FAILED.recipe, accuracy=0.5, latency=LATENCY)
    with open_ledger(tmp_path, create=True) as ledger:
        for record in (FAILED, TEACHER, better):
            ledger.put(record)
        assert ledger.records() == [better, TEACHER]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
def test_nan_and_inf_are_refused_wherever_they_stand(tmp_path: Path, bad: float) -> None:
    one = (1.0,) * 5
    unsound = [
        Record(Recipe(), accuracy=bad),
        Record(Recipe(), test_accuracy=bad),
        Record(Recipe(), train_s=bad),
        Record(Recipe(), latency=Latency(bad, *one, "measured", "cpu")),
        Record(Recipe(), latency=Latency(*one, float(bad), "measured", "cpu", (Visit((float(bad),), (1.0,)),))),
        Record(Recipe(), latency=Latency(1.0, *one, "measured", "cpu", (Visit((1.0,), (float(bad),)),))),
    ]
    with open_ledger(tmp_path, create=True) as ledger:
        for record in unsound:
            with pytest.raises((ValueError, TypeError)):
                ledger.put(record)
        with pytest.raises((ValueError, TypeError)):
            ledger.set_fact("a", bad)
        with pytest.raises(ValueError, match="elapsed"):
            ledger.add_elapsed(bad)
        assert ledger.records() == []
        assert ledger.get_fact("a") is None
        assert ledger.elapsed_s() == 0.0


def test_what_would_not_read_back_equal_is_refused(tmp_path: Path) -> None:
    with open_ledger(tmp_path, create=True) as ledger:
        with pytest.raises(ValueError, match="would not read back"):
            ledger.put(Record(Recipe(), environment={"a": (1,)}))  # type: ignore[dict-item]
        with pytest.raises(ValueError, match="whole numbers"):
            ledger.put(Record(Recipe.of({"a": True})))
        assert ledger.records() == []


def test_facts_and_elapsed_seconds_stay(tmp_path: Path) -> None:
    with open_ledger(tmp_path, create=True) as ledger:
        assert ledger.get_fact("profile") is None
        ledger.set_fact("profile", {"done": True, "sites": ["a", 1, 0.1 + 0.2, None]})
        ledger.set_fact("phase", "first")
        ledger.set_fact("phase", "second")
        ledger.add_elapsed(1.5)
        ledger.add_elapsed(2.0)
    with open_ledger(tmp_path, create=False) as ledger:
        assert ledger.get_fact("profile") == {"done": True, "sites": ["a", 1, 0.1 + 0.2, None]}
        assert ledger.get_fact("phase") == "second"
        assert ledger.elapsed_s() == 3.5
        with pytest.raises(ValueError, match="not negative"):
            ledger.add_elapsed(-1.0)


def test_what_is_not_a_ledger_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no ledger"):
        open_ledger(tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="has no ledger"):
        open_ledger(tmp_path / "missing", create=True)
    (tmp_path / "ledger.sqlite").write_bytes(b"something else entirely " * 100)
    for create in (True, False):
        with pytest.raises(UserError, match="is not a ledger"):
            open_ledger(tmp_path, create)


def change(run: Path, statement: str) -> None:
    connection = sqlite3.connect(run / "ledger.sqlite", isolation_level=None)
    connection.execute(statement)
    connection.close()


def test_a_foreign_sqlite_file_is_left_alone(tmp_path: Path) -> None:
    change(tmp_path, "CREATE TABLE theirs (a)")
    before = (tmp_path / "ledger.sqlite").read_bytes()
    with pytest.raises(UserError, match="is not a ledger"):
        open_ledger(tmp_path, create=True)
    assert (tmp_path / "ledger.sqlite").read_bytes() == before


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    open_ledger(tmp_path, create=True).close()
    change(tmp_path, "PRAGMA user_version = 7")
    with pytest.raises(UserError, match="schema 7; this one reads 2"):
        open_ledger(tmp_path, create=False)


def test_a_search_killed_before_the_tables_were_made_can_go_on(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").touch()
    with open_ledger(tmp_path, create=False) as ledger:
        ledger.put(FULL)
        assert ledger.records() == [FULL]


def test_a_run_at_rest_is_one_file_and_can_be_copied(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with open_ledger(tmp_path / "a", create=True) as ledger:
        ledger.put(FULL)
        assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["ledger.sqlite"]
        (tmp_path / "b" / "ledger.sqlite").write_bytes((tmp_path / "a" / "ledger.sqlite").read_bytes())
    with open_ledger(tmp_path / "b", create=False) as ledger:
        assert ledger.records() == [FULL]


def test_a_reader_beside_the_writer(tmp_path: Path) -> None:
    with open_ledger(tmp_path, create=True) as writer, open_ledger(tmp_path, create=False) as reader:
        writer.put(FULL)
        assert reader.records() == [FULL]
        writer.put(TEACHER)
        assert reader.records() == [FULL, TEACHER]


def test_a_ledger_sees_what_another_connection_has_changed(tmp_path: Path) -> None:
    with open_ledger(tmp_path, create=True) as one, open_ledger(tmp_path, create=False) as other:
        one.put(TEACHER)
        assert other.get(TEACHER.recipe, 0) == TEACHER
        changed = replace(TEACHER, note="changed")
        one.put(changed)
        assert one.records() == [changed]
        assert other.get(TEACHER.recipe, 0) == changed
        assert other.records() == [changed]
