"""Filling in latencies on targets that were out of reach when a student was scored."""

from collections.abc import Iterable
from pathlib import Path

from latency_models.errors import LatencyError
from nas.evaluate import beat, evaluate
from nas.latencies import out_of_reach
from nas.record import Record
from nas.workbench import Workbench

SHARE = 0.04
"""Of the time budget, that one round may take while the search is not finished."""


def ask_again(bench: Workbench) -> None:
    """Asks targets that were out of reach once more, for the most accurate students first.

    A finished search asks for all of them, whatever the time budget (that is what it is resumed for), and is confirmed
    anew where one answers; one that is not gives it a share of the budget. Where a target is still away its quarantine
    refuses at once, so that this costs one attempt to reach it.
    """
    finished = bool(bench.ledger.get_fact("confirmed"))
    end_s = bench.deadline.elapsed_s() + SHARE * bench.deadline.budget_s
    waiting = sorted(_waiting(bench.ledger.records()), key=lambda record: -(record.accuracy or 0.0))
    if not waiting:
        return
    bench.progress.phase("asking again where a target was out of reach", len(waiting))
    n_answered = 0
    for record in waiting:
        if bench.deadline.elapsed_s() >= end_s and not finished:
            break
        try:
            answered = out_of_reach(evaluate(bench, record.recipe, record.rung)) != out_of_reach(record)
        except (LatencyError, ValueError, OSError) as error:  # its file is gone or has changed
            bench.progress.note(f"{record.id} cannot be timed again: {error}")
            continue
        if answered:
            bench.ledger.set_fact("confirmed", False)
            n_answered += 1
        bench.progress.advance()
        beat(bench)
    if n_answered:
        bench.progress.note(f"{n_answered} of {len(waiting)} students got latencies on targets that were out of reach")


def still_away(records: Iterable[Record]) -> dict[str, int]:
    """How many students have no latency on a target that was out of reach, by its label."""
    found: dict[str, int] = {}
    for record in _waiting(records):
        for label in out_of_reach(record):
            found[label] = found.get(label, 0) + 1
    return found


def in_words(away: dict[str, int], run: Path) -> list[str]:
    """A sentence for each such target."""
    return [
        f"{label} was out of reach: {n} {'student has' if n == 1 else 'students have'} no latency there. "
        f"`nas resume {run}` asks it again."
        for label, n in away.items()
    ]


def _waiting(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record.failure is None and record.recipe and out_of_reach(record)]
