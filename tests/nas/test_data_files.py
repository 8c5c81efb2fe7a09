from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from nas.data_files import GAP_COLUMNS, write_fronts, write_gaps, write_records
from nas.front import FRONT_COLUMNS, front_of
from nas.fronts import fronts_of, gaps_between
from tests.nas.records import FAILED, MEMBERS, RECORDS, TEACHER
from tests.nas.several import (
    BOARD,
    HALF_NARROW,
    HALF_TEACHER,
    NO_FLOAT16,
    NO_INT8,
    SEVERAL,
    SEVERAL_TEACHER,
    TARGETS,
    TUCKER,
    TVM,
)  # fmt: skip


def test_csv_says_what_the_frame_says(tmp_path: Path) -> None:
    front = front_of(RECORDS, TEACHER)
    read = pd.read_csv(write_fronts({"cpu-1t": front}, tmp_path), keep_default_na=False)
    assert read["recipe"].tolist() == front.frame()["recipe"].tolist()
    assert read["latency_ratio"].tolist() == front.frame()["latency_ratio"].tolist()


def test_parquet_has_a_row_for_each_record_and_its_samples(tmp_path: Path) -> None:
    rows = pq.read_table(write_records([TEACHER, *RECORDS], tmp_path / "records.parquet")).to_pylist()
    assert [row["id"] for row in rows] == [record.id for record in (TEACHER, *RECORDS)]
    failed = next(row for row in rows if row["failure"])
    assert (failed["failure"], failed["accuracy"], failed["latency_s"]) == ("export: outputs differ by 0.3", None, None)
    assert MEMBERS[0].latency is not None
    fastest = next(row for row in rows if row["id"] == MEMBERS[0].id)
    assert fastest["latency_ratio"] == 0.082
    assert fastest["candidate_samples_s"] == [list(visit.candidate_s) for visit in MEMBERS[0].latency.visits]


def test_parquet_of_a_run_that_only_failed_has_the_same_columns(tmp_path: Path) -> None:
    only_failed = pq.read_schema(write_records([FAILED], tmp_path / "failed.parquet"))
    assert only_failed == pq.read_schema(write_records(RECORDS, tmp_path / "all.parquet"))


def test_csv_has_the_rows_of_all_targets_and_says_which_are_estimates(tmp_path: Path) -> None:
    fronts = fronts_of(SEVERAL, SEVERAL_TEACHER, TARGETS)
    read = pd.read_csv(write_fronts(fronts, tmp_path))
    assert tuple(read.columns) == FRONT_COLUMNS
    assert read["target"].tolist() == ["cpu-1t"] * 6 + [TVM] * 5 + [BOARD] * 4
    assert read.groupby("target")["latency_source"].unique().map(list).to_dict() == {
        "cpu-1t": ["measured"], TVM: ["measured"], BOARD: ["predicted"]
    }  # fmt: skip
    assert read["known_error"].tolist()[-4:] == [0.09] * 4
    assert read["known_error"].isna().tolist()[:11] == [True] * 11


def test_parquet_has_a_row_for_each_record_and_target(tmp_path: Path) -> None:
    rows = pq.read_table(write_records([SEVERAL_TEACHER, *SEVERAL], tmp_path / "r.parquet", TARGETS)).to_pandas()
    assert len(rows) == 3 * (1 + len(SEVERAL))
    half = rows[rows["id"] == HALF_NARROW.id].set_index("target")
    assert half.loc["cpu-1t", "refusal"] == NO_FLOAT16
    assert half.loc[TVM, "latency_ratio"] == pytest.approx(0.33)
    assert (half.loc[BOARD, "latency_source"], half.loc[BOARD, "known_error"]) == ("predicted", 0.09)
    assert len(half.loc[BOARD, "candidate_samples_s"]) == 0
    assert half["failure"].isna().all()
    assert set(rows.loc[rows["refusal"] == NO_INT8, "target"]) == {TVM, BOARD}
    assert rows.loc[rows["id"] == FAILED.id, "target"].tolist() == list(TARGETS)


def test_targets_csv_has_a_row_for_each_member_and_other_target(tmp_path: Path) -> None:
    fronts = fronts_of(SEVERAL, SEVERAL_TEACHER, TARGETS)
    read = pd.read_csv(write_gaps(gaps_between(fronts), tmp_path))
    assert tuple(read.columns) == GAP_COLUMNS
    assert len(read) == 2 * (5 + 4 + 3)
    row = read[(read["id"] == TUCKER.id) & (read["run_on"] == TVM)].iloc[0]
    assert (row["chosen_for"], row["chosen_for_ratio"], row["ratio"]) == ("cpu-1t", 0.61, 0.78)
    assert row["slower"] == pytest.approx(0.78 / 0.72)
    assert row["accuracy_lost"] == pytest.approx(0.9360 - 0.9358)
    assert (row["rival"], bool(row["on_both_fronts"]), bool(row["indistinguishable"])) == (
        HALF_TEACHER.id,
        False,
        False,
    )
    refused = read[(read["id"] == MEMBERS[0].id) & (read["run_on"] == TVM)].iloc[0]
    assert refused["missing"] == NO_INT8
    assert pd.isna(refused["slower"])
