"""The run as one HTML file that needs no network: figures, tables, facts, failures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from nas.figure import figure
from nas.front import Front
from nas.fronts import members_of
from nas.page_front import front_table, plot_of
from nas.page_targets import gaps, students
from nas.page_time import time_table
from nas.plane import counts, frames_of, subtitle
from nas.time_used import PhaseTime
from nas.words import Sites

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
.wrap th { white-space: normal; }
.wrap th:last-child { min-width: 180px; }
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
ul { margin: 0 0 12px; padding-left: 20px; font-size: 14.5px; }
p.estimate { color: #8a4200; font-size: 14px; margin: 0 0 8px; }
section > details { margin-top: 12px; font-size: 14.5px; }
section > details > .scroll, section > details > p { margin-top: 8px; }
.scroll + p, p + .scroll { margin-top: 12px; font-size: 14px; }
"""


def write_page(
    fronts: Mapping[str, Front],
    path: Path,
    run_facts: Mapping[str, str],
    *,
    title: str = "Understudy",
    budget_ratios: Mapping[str, float] | None = None,
    sites: Sites | None = None,
    cards: Mapping[str, str] | None = None,
    times: Sequence[PhaseTime] = (),
) -> Path:
    """Writes the page; everything that comes from a user is escaped.

    Args:
        fronts: what the page is about, by the labels of their targets.
        path: the HTML file.
        run_facts: what to say of the run (teacher, targets, budget, time spent, versions), in this order.
        title: heading of the page.
        budget_ratios: latency budgets as shares of the teacher's latency, by target.
        sites: the teacher's sites, for fuller words.
        cards: id of a member to the path of its model card, relative to the page.
        times: of the run's phases.
    """
    ratios, links = budget_ratios or {}, cards or {}
    parts = _one(fronts, ratios, sites, links) if len(fronts) == 1 else _several(fronts, ratios, sites, links)
    body = (
        f"<h1>{escape(title)}</h1>{parts}"
        f"<section><h2>Run</h2>{_facts(run_facts)}</section>"
        f"<section><h2>Candidates</h2>{_candidates(fronts)}</section>"
        + (f"<section><h2>Time</h2>{time_table(times)}</section>" if times else "")
    )
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    page = f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>\n"
    path.write_text(f'<!doctype html><html lang="en"><head>{head}{page}', encoding="utf-8")
    return path


def _one(
    fronts: Mapping[str, Front], ratios: Mapping[str, float], sites: Sites | None, cards: Mapping[str, str]
) -> str:
    ((label, front),) = fronts.items()
    ratio = ratios.get(label)
    plot = plot_of(figure(front, budget_ratio=ratio, sites=sites), "front", True)
    table = front_table(front, ratio, sites, cards)
    return f"<p>{escape(subtitle(front))}</p><section>{plot}</section><section><h2>Front</h2>{table}</section>"


def _several(
    fronts: Mapping[str, Front], ratios: Mapping[str, float], sites: Sites | None, cards: Mapping[str, str]
) -> str:
    """A section for each target, their pictures on one vertical scale; then what the targets have in common."""
    frames = frames_of(fronts, ratios)
    scores = next(iter(fronts.values())).scores
    parts = [f"<p>{len(fronts)} targets · {escape(scores)}</p>"]
    for n, (label, front) in enumerate(fronts.items()):
        ratio = ratios.get(label)
        plot = plot_of(figure(front, "", ratio, sites, frames[label]), f"front-{n}", n == 0)
        table = front_table(front, ratio, sites, cards)
        line = f"<p>{escape(' · '.join(counts(front)))}</p>"
        parts.append(f"<section><h2>{escape(front.heading)}</h2>{line}{plot}{table}</section>")
    if members_of(fronts):
        parts.append(f"<section><h2>Students</h2>{students(fronts, sites, cards)}</section>")
        parts.append(f"<section><h2>Chosen for one target, run on another</h2>{gaps(fronts, cards)}</section>")
    return "".join(parts)


def _facts(facts: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items()) + "</dl>"


def _candidates(fronts: Mapping[str, Front]) -> str:
    """How many were scored on each target, and the failures counted by their reason."""
    lines = []
    for label, front in fronts.items():
        n_scored, n_failed = len(front.members) + len(front.dominated), len(front.failed)
        where = f"{label}: " if len(fronts) > 1 else ""
        lines.append(f"{where}{n_scored} scored, {len(front.members)} of them on the front; {n_failed} failed.")
    text = f"<p>{'<br>'.join(escape(line) for line in lines)}</p>"
    counted = _failures(fronts)
    if not counted:
        return text
    rows = "".join(
        f'<tr><td class="n">{n}</td><td>{escape(reason)}</td><td>{escape(where)}</td></tr>'
        for (reason, where), n in counted.most_common()
    )
    head = f'<tr><th class="n">n</th><th>failure</th><th>{"where" if len(fronts) > 1 else ""}</th></tr>'
    return f'{text}<div class="scroll"><table class="counts">{head}{rows}</table></div>'


def _failures(fronts: Mapping[str, Front]) -> Counter[tuple[str, str]]:
    """Failed records by the reason and by where it holds: nothing is said of what failed on every target."""
    seen: dict[tuple[str, str], list[str]] = {}
    for label, front in fronts.items():
        for record in front.failed:
            reason = record.failure or ("not scored to the end" if record.accuracy is None else "not timed")
            seen.setdefault((record.id, reason), []).append(label)
    return Counter(
        (reason, "" if len(labels) == len(fronts) else ", ".join(labels)) for (_, reason), labels in seen.items()
    )
