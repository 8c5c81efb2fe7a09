"""Students whose latency on some target is still open, and what is said of them."""

from dataclasses import replace
from pathlib import Path

from nas.ask_again import in_words, still_away
from nas.latencies import OUT_OF_REACH
from nas.record import Record
from search_spaces.recipe import Recipe

AWAY = Record(Recipe.of({"channels:a": 3}), accuracy=0.9, refusals={"pi-1t": f"{OUT_OF_REACH}switched off"})


def test_only_students_that_a_lost_target_left_open_count() -> None:
    refused = replace(AWAY, refusals={"pi-1t": "no int8 there"})
    failed = replace(AWAY, failure="not finite")
    both = replace(AWAY, refusals={**AWAY.refusals, "tv-1t": f"{OUT_OF_REACH}unplugged"})
    assert still_away([AWAY, refused, failed, both, Record(Recipe(), refusals=AWAY.refusals)]) == {
        "pi-1t": 2,
        "tv-1t": 1,
    }
    assert still_away([refused, failed]) == {}


def test_what_is_said() -> None:
    assert in_words({"pi-1t": 2, "tv-1t": 1}, Path("results/a")) == [
        "pi-1t was out of reach: 2 students have no latency there. `nas resume results/a` asks it again.",
        "tv-1t was out of reach: 1 student has no latency there. `nas resume results/a` asks it again.",
    ]
