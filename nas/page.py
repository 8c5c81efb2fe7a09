"""The run as one HTML file that needs no network: figure, table, facts, failures."""

from collections import Counter
from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

from nas.figure import figure
from nas.front import Front, fits_budget, latency_of
from nas.plot import TIMES, subtitle
from nas.record import Record
from nas.words import Sites, in_words, milliseconds, percent, score, summary

_STYLE = """
:root { color-scheme: light; --ink: #22272e; --soft: #57606a; --line: #e3e7eb; --blue: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: #f6f7f9; color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 20px 60px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 0 0 12px; }
p { margin: 0; color: var(--soft); }
section { background: white; border: 1px solid var(--line); border-radius: 12px; padding: 20px; margin-top: 20px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14.5px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); white-space: nowrap; }
th, td { padding: 8px 12px 8px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
.n { text-align: right; white-space: nowrap; }
.counts .n { width: 40px; }
.soft, tr.teacher td { color: var(--soft); }
.yes { color: #00694d; font-weight: 600; }
code { font: 13px ui-monospace, "DejaVu Sans Mono", monospace; white-space: nowrap; }
a { color: var(--blue); }
dl { display: grid; grid-template-columns: minmax(120px, max-content) 1fr; gap: 6px 24px; margin: 0; }
dl { font-size: 14.5px; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
details summary { cursor: pointer; color: var(--soft); }
.scroll + p, p + .scroll { margin-top: 12px; font-size: 14px; }
"""


def write_page(
    front: Front,
    path: Path,
    run_facts: Mapping[str, str],
    *,
    title: str = "Understudy",
    budget_ratio: float | None = None,
    sites: Sites | None = None,
    cards: Mapping[str, str] | None = None,
) -> Path:
    """Writes the page; everything that comes from a user is escaped.

    Args:
        front: what the page is about.
        path: the HTML file.
        run_facts: what to say of the run (teacher, target, budget, time spent, versions), in this order.
        title: heading of the page.
        budget_ratio: latency budget as a share of the teacher's latency.
        sites: the teacher's sites, for fuller words.
        cards: id of a member to the path of its model card, relative to the page.
    """
    picture = figure(front, budget_ratio=budget_ratio, sites=sites)
    settings = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}
    plot = picture.to_html(full_html=False, include_plotlyjs=True, config=settings, div_id="front")
    body = (
        f"<h1>{escape(title)}</h1><p>{escape(subtitle(front))}</p>"
        f"<section>{plot}</section>"
        f"<section><h2>Front</h2>{_table(front, budget_ratio, sites, cards or {})}</section>"
        f"<section><h2>Run</h2>{_facts(run_facts)}</section>"
        f"<section><h2>Candidates</h2>{_candidates(front)}</section>"
    )
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    page = f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>\n"
    path.write_text(f'<!doctype html><html lang="en"><head>{head}{page}', encoding="utf-8")
    return path


def _table(front: Front, budget_ratio: float | None, sites: Sites | None, cards: Mapping[str, str]) -> str:
    names = ["student", front.metric, "drop", "latency", "of the teacher's", "faster", "size"]
    names += [] if budget_ratio is None else ["fits"]
    numeric = range(1, 7)
    header = "".join(
        f'<th class="{"n" if column in numeric else ""}">{escape(name)}</th>'
        for column, name in enumerate([*names, "what was changed"])
    )
    rows = "".join(_row(front, record, budget_ratio, sites, cards) for record in front.rows())
    notes = ["Latencies with their 95 % interval; a budget is met when the upper end of the interval meets it."]
    notes += [f"{a.id} and {b.id} are indistinguishable in latency: their intervals overlap." for a, b in front.ties()]
    lines = "<br>".join(escape(note) for note in notes)
    return f'<div class="scroll"><table><tr>{header}</tr>{rows}</table></div><p>{lines}</p>'


def _row(
    front: Front, record: Record, budget_ratio: float | None, sites: Sites | None, cards: Mapping[str, str]
) -> str:
    latency = latency_of(record)
    name = f"<code>{escape(record.id)}</code>"
    if record.id in cards:
        name = f'<a href="{escape(quote(cards[record.id]))}">{name}</a>'
    interval = f"{milliseconds(latency.low_s)} to {milliseconds(latency.high_s)}"
    ratios = f"{percent(latency.ratio_low, 1)} to {percent(latency.ratio_high, 1)}"
    below = f"{front.drop_of(record) * (100 if front.is_share else 1):.2f}" + (" pt" if front.is_share else "")
    predicted = " predicted" if latency.source == "predicted" else ""
    cells = [
        score(front.accuracy_of(record), front.is_share),
        below,
        f'{milliseconds(latency.median_s)}{predicted}<br><span class="soft">{interval}</span>',
        f'{percent(latency.ratio, 1)}<br><span class="soft">{ratios}</span>' if record.recipe else "100 %",
        f"{1 / latency.ratio:.2f}{TIMES}",
        f"{record.size_bytes / 1e6:.2f} MB",
    ]
    fits = "" if budget_ratio is None else fits_budget(latency, budget_ratio)
    fits_cell = fits and f'<td class="{fits}">{fits}</td>'
    words = escape(summary(record.recipe, sites)) if record.recipe else "the teacher"
    if record.recipe:
        words = f"<details><summary>{words}</summary>{escape(in_words(record.recipe, sites))}</details>"
    figures = "".join(f'<td class="n">{cell}</td>' for cell in cells)
    return f'<tr class="{"" if record.recipe else "teacher"}"><td>{name}</td>{figures}{fits_cell}<td>{words}</td></tr>'


def _facts(facts: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items()) + "</dl>"


def _candidates(front: Front) -> str:
    """How many were scored, and the failures counted by their reason."""
    n_scored, n_failed = len(front.members) + len(front.dominated), len(front.failed)
    text = f"<p>{n_scored} scored, {len(front.members)} of them on the front; {n_failed} failed.</p>"
    if not n_failed:
        return text
    reasons = Counter(record.failure or "not scored to the end" for record in front.failed).most_common()
    rows = "".join(f'<tr><td class="n">{n}</td><td>{escape(reason)}</td></tr>' for reason, n in reasons)
    head = '<tr><th class="n">n</th><th>failure</th></tr>'
    return f'{text}<div class="scroll"><table class="counts">{head}{rows}</table></div>'
