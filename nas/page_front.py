"""The page's part on one target: picture and table of its front."""

from collections.abc import Mapping
from html import escape

import plotly.graph_objects as go

from nas.front import Front, fits_budget, latency_of, said_fits
from nas.html_table import figures, grid, student
from nas.plane import TIMES
from nas.record import Record
from nas.words import Sites, about, in_words, milliseconds, percent, score, summary

_MODE_BAR = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}


def plot_of(picture: go.Figure, name: str, with_library: bool) -> str:
    """The picture as HTML; the first of a page brings plotly's own library along."""
    html: str = picture.to_html(full_html=False, include_plotlyjs=with_library, config=_MODE_BAR, div_id=name)
    return html


def front_table(front: Front, budget_ratio: float | None, sites: Sites | None, cards: Mapping[str, str]) -> str:
    """The members and the teacher, fastest first, and below them what must be known to read the figures.

    Args:
        front: of one target.
        budget_ratio: latency budget as a share of the teacher's latency.
        sites: the teacher's sites, for fuller words.
        cards: id of a member to the path of its model card, relative to the page.
    """
    names = ["student", front.metric, "drop", front.latency_name, "of the teacher's", "faster", "size"]
    names += [] if budget_ratio is None else ["fits"]
    rows = (_row(front, record, budget_ratio, sites, cards) for record in front.rows())
    table = grid([*names, "what was changed"], 1, rows)
    notes = ["Latencies with their 95 % interval; a budget is met when the upper end of the interval meets it."]
    notes += _ties(front)
    lines = "<br>".join(escape(note) for note in notes)
    said = f'<p class="estimate">~ {escape(front.estimate)}.</p>' if front.estimate else ""
    return f"{said}{table}<p>{lines}</p>"


def _ties(front: Front) -> list[str]:
    ties = front.ties()
    if front.is_predicted and ties:
        pairs = "pair of neighbours is" if len(ties) == 1 else "pairs of neighbours are"
        return [f"{len(ties)} {pairs} closer in latency than the estimate's error."]
    return [f"{a.id} and {b.id} are indistinguishable in latency: their intervals overlap." for a, b in ties]


def _row(
    front: Front, record: Record, budget_ratio: float | None, sites: Sites | None, cards: Mapping[str, str]
) -> str:
    latency = latency_of(record)
    interval = f"{milliseconds(latency.low_s)} to {milliseconds(latency.high_s)}"
    ratios = f"{percent(latency.ratio_low, 1)} to {percent(latency.ratio_high, 1)}"
    below = f"{front.drop_of(record) * (100 if front.is_share else 1):.2f}" + (" pt" if front.is_share else "")
    time, share, faster = (
        about(figure, latency.source)
        for figure in (milliseconds(latency.median_s), percent(latency.ratio, 1), f"{1 / latency.ratio:.2f}{TIMES}")
    )
    cells = [
        score(front.accuracy_of(record), front.is_share),
        below,
        f'{time}<br><span class="soft">{interval}</span>',
        f'{share}<br><span class="soft">{ratios}</span>' if record.recipe else "100 %",
        faster,
        f"{record.size_bytes / 1e6:.2f} MB",
    ]
    fits_cell = ""
    if budget_ratio is not None:
        fits_cell = f'<td class="{fits_budget(latency, budget_ratio)}">{said_fits(latency, budget_ratio)}</td>'
    words = escape(summary(record.recipe, sites)) if record.recipe else "the teacher"
    if record.recipe:
        words = f"<details><summary>{words}</summary>{escape(in_words(record.recipe, sites))}</details>"
    first = f"<td>{student(record.id, cards.get(record.id))}</td>"
    look = "" if record.recipe else "teacher"
    return f'<tr class="{look}">{first}{figures(cells)}{fits_cell}<td>{words}</td></tr>'
