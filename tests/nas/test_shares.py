"""When the phases of a search hand over."""

from dataclasses import replace

import pytest

from nas.shares import N_CONFIRMED, TRAIN_UNTIL, has_time_to_plan, training_end_s
from nas.workbench import Workbench


class Clock:
    def __init__(self, budget_s: float, elapsed_s: float = 0.0) -> None:
        self.budget_s, self._elapsed_s = budget_s, elapsed_s

    def elapsed_s(self) -> float:
        return self._elapsed_s


def at(bench: Workbench, budget_s: float, elapsed_s: float = 0.0) -> Workbench:
    bench.ledger.set_fact("visit_s", 0.5)  # three visits of a member beside others: 0.75 s
    slow = len(bench.validation.split) / 1000  # a millisecond a sample: 1 s for the test scores
    return replace(bench, deadline=Clock(budget_s, elapsed_s), teacher_score_s=slow)  # type: ignore[arg-type]


def test_confirming_has_its_time_before_training(tiny_bench: Workbench) -> None:
    assert training_end_s(at(tiny_bench, 1000.0)) == pytest.approx(TRAIN_UNTIL * 1000)
    n_records = len(tiny_bench.ledger.records())
    assert n_records < N_CONFIRMED
    assert training_end_s(at(tiny_bench, 40.0)) == pytest.approx(40 - (1 + n_records) * 0.75 - 1.0 - 1.5)


def test_students_are_planned_where_preparing_took_little_of_the_time(tiny_bench: Workbench) -> None:
    assert not has_time_to_plan(at(tiny_bench, 60.0, 5.0))


def test_whether_there_is_time_to_plan_is_decided_once(tiny_bench: Workbench) -> None:
    assert has_time_to_plan(at(tiny_bench, 100.0, 5.0))
    assert has_time_to_plan(at(tiny_bench, 100.0, 99.0))
