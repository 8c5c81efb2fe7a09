"""What a run leaves for its user: table, records, page, picture, model cards."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.card import write_card
from nas.files import FullDiskStops
from nas.front import Front, write_front, write_records
from nas.page import write_page
from nas.plot import write_png
from nas.record import Record
from search_spaces.recipe import Site

CARDS = "cards"


def publish(
    run: Path,
    front: Front,
    records: Sequence[Record],
    sites: Mapping[str, Site],
    facts: Mapping[str, str],
    title: str,
    budget_ratio: float,
) -> None:
    """Writes `front.csv`, `records.parquet`, `front.png`, `front.html` and a card for each member into the run.

    Args:
        run: its folder.
        front: to show.
        records: everything in the ledger.
        sites: of the teacher.
        facts: of the run, label to text.
        title: of page and picture.
        budget_ratio: latency budget as a share of the teacher's.
    """
    with FullDiskStops(run):
        folder = run / CARDS
        folder.mkdir(exist_ok=True)
        cards = {}
        for record in front.members:
            path = write_card(record, front.teacher, sites, folder, facts, front.metric)
            cards[record.id] = str(path.relative_to(run))
        write_front(front, run)
        write_records(records, run / "records.parquet")
        write_png(front, run / "front.png", title, budget_ratio)
        write_page(front, run / "front.html", facts, title=title, budget_ratio=budget_ratio, sites=sites, cards=cards)
