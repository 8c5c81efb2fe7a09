"""What a run leaves for its user: table, records, page, picture, model cards."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.card import write_card
from nas.data_files import write_fronts, write_gaps, write_records, write_times
from nas.files import FullDiskStops
from nas.front import Front
from nas.fronts import gaps_between, members_of
from nas.page import write_page
from nas.plot import write_png
from nas.record import Record
from nas.study_file import write_study
from nas.time_used import PhaseTime
from search_spaces.recipe import Site

CARDS = "cards"


def publish(
    run: Path,
    fronts: Mapping[str, Front],
    records: Sequence[Record],
    sites: Mapping[str, Site],
    facts: Mapping[str, str],
    title: str,
    budget_ratios: Mapping[str, float],
    times: Sequence[PhaseTime] = (),
) -> None:
    """Writes `front.csv`, `records.parquet`, `study.journal`, `front.png`, `front.html` and a card for each member.

    With several targets also `targets.csv`: how far the students of one are from the front of another.

    Args:
        run: its folder.
        fronts: to show, by the labels of their targets.
        records: everything in the ledger.
        sites: of the teacher.
        facts: of the run, label to text.
        title: of page and picture.
        budget_ratios: latency budgets as shares of the teacher's, by target.
        times: of the run's phases, for `time.csv` and the page.
    """
    labels, first = tuple(fronts), next(iter(fronts.values()))
    with FullDiskStops(run):
        folder = run / CARDS
        folder.mkdir(exist_ok=True)
        cards = {}
        for label, record in members_of(fronts):
            path = write_card(record, first.teacher, sites, folder, facts, first.metric, labels, label)
            cards[record.id] = str(path.relative_to(run))
        write_fronts(fronts, run)
        write_records(records, run / "records.parquet", labels)
        write_study(records, sites, labels, run)
        if len(fronts) > 1:
            write_gaps(gaps_between(fronts), run)
        if times:
            write_times(times, run)
        write_png(fronts, run / "front.png", title, budget_ratios)
        words: dict[str, Any] = {"title": title, "budget_ratios": budget_ratios, "sites": sites, "cards": cards}
        write_page(fronts, run / "front.html", facts, times=times, **words)
