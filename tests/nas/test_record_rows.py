import numpy as np
import pytest

from nas.record import Record
from nas.record_rows import COLUMNS, record_of_row, row_of_record
from search_spaces.recipe import Recipe


def test_a_row_has_the_columns_in_order() -> None:
    recipe = Recipe.of({"channels:a": 8})
    row = dict(zip(COLUMNS, row_of_record(Record(recipe, rung=2, accuracy=0.5, seed=9)), strict=True))
    assert row["digest"] == recipe.digest
    assert row["recipe"] == '{"channels:a":8}'
    assert (row["rung"], row["accuracy"], row["seed"], row["latency"]) == (2, 0.5, 9, None)


def test_numpy_scalars_become_plain_numbers() -> None:
    record = Record(Recipe(), accuracy=np.float32(0.75), n_macs=np.int64(12))  # type: ignore[arg-type]
    row = row_of_record(record)
    assert type(row[list(COLUMNS).index("accuracy")]) is float
    assert type(row[list(COLUMNS).index("n_macs")]) is int
    assert record_of_row(row) == Record(Recipe(), accuracy=0.75, n_macs=12)


def test_a_whole_number_that_sqlite_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="seed of a record has at most 63 bits"):
        row_of_record(Record(Recipe(), seed=2**63))
