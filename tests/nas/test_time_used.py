"""Seconds and candidates by phase, over interruptions."""

from dataclasses import dataclass
from pathlib import Path

from nas.ledger import open_ledger
from nas.page_time import time_table
from nas.record import Record
from nas.time_used import FACT, PhaseTime, TimeUsed, in_all
from search_spaces.recipe import Recipe
from tests.nas.records import make_latency


@dataclass
class Clock:
    """Two clocks: CPU seconds run at half the speed of the wall clock's."""

    now: float = 100.0

    def wall(self) -> float:
        return self.now

    def cpu(self) -> float:
        return self.now / 2

    def used(self) -> TimeUsed:
        return TimeUsed(self.cpu, self.wall)


SCORED = Record(Recipe.of({"a": 2}), accuracy=0.5, latency=make_latency(0.5))
FAILED = Record(Recipe.of({"a": 3}), failure="it does not run")


def test_seconds_belong_to_the_phase_they_passed_in() -> None:
    clock = Clock()
    used = clock.used()
    clock.now += 2
    used.at("one")
    clock.now += 3
    used.at("one")
    clock.now += 4
    used.at("two")
    clock.now += 1
    used.at("")  # nothing is said of the phase
    clock.now += 5
    used.at("one")
    assert used.times == (PhaseTime("starting", 2, 1), PhaseTime("one", 7, 3.5), PhaseTime("two", 6, 3))
    assert in_all(used.times) == PhaseTime("in all", 15, 7.5)


def test_candidates_are_counted_where_their_records_came_about(tmp_path: Path) -> None:
    clock = Clock()
    used = clock.used()
    with open_ledger(tmp_path, create=True) as ledger, used.kept_in(ledger):
        used.at("profiling")
        ledger.put(Record(Recipe(), accuracy=0.9, latency=make_latency(1.0)))
        clock.now += 1
        used.at("scoring")
        ledger.put(SCORED)
        ledger.put(FAILED)
        clock.now += 1
        used.at("writing")
    by_name = {one.phase: (one.n_built, one.n_timed, one.n_scored) for one in used.times}
    assert by_name["profiling"] == (0, 0, 0)
    assert by_name["scoring"] == (2, 1, 1)


def test_a_run_that_was_cut_off_adds_up(tmp_path: Path) -> None:
    clock = Clock()
    with open_ledger(tmp_path, create=True) as ledger:
        first = clock.used()
        with first.kept_in(ledger):
            first.at("scoring")
            ledger.put(SCORED)
            clock.now += 10
            first.at("scoring")  # saved, as that was long; and then it is killed
            assert ledger.get_fact(FACT)[-1] == ["scoring", 10.0, 5.0, 1, 1, 1]
        resumed = clock.used()
        clock.now += 1
        resumed.at("scoring")
        with resumed.kept_in(ledger):
            clock.now += 2
            ledger.put(FAILED)
    assert PhaseTime("scoring", 12.0, 6.0, 2, 1, 1) in resumed.times
    with open_ledger(tmp_path, create=False) as ledger:
        assert ["scoring", 12.0, 6.0, 2, 1, 1] in ledger.get_fact(FACT)


def test_the_table() -> None:
    times = (PhaseTime("starting", 1.0, 1.0), PhaseTime("scoring <x>", 4.0, 3.0, 8, 6, 4))
    html = time_table(times)
    assert "<td>scoring &lt;x&gt;</td>" in html
    assert '<td class="n">75 %</td>' in html
    assert "2.00 built, 1.50 timed, 1.00 scored" in html
