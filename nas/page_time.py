"""The page's part on where the search's time went."""

from collections.abc import Sequence
from html import escape

from nas.html_table import figures, grid
from nas.time_used import PhaseTime, in_all


def time_table(times: Sequence[PhaseTime]) -> str:
    """A row for each phase and their sum; below it what a CPU second brought."""
    whole = in_all(times)
    names = ["phase", "CPU s", "share", "wall s", "built", "timed", "scored", ""]
    rows = "".join(_row(one, whole) for one in (*times, whole))
    per_s = max(whole.cpu_s, 1e-9)
    rates = (
        f"{n / per_s:.2f} {what}"
        for n, what in ((whole.n_built, "built"), (whole.n_timed, "timed"), (whole.n_scored, "scored"))
    )
    line = f"Candidates for each CPU second of the whole search: {', '.join(rates)}. Up to this report, all processes."
    return f"{grid(names, 1, [rows])}<p>{line}</p>"


def _row(one: PhaseTime, whole: PhaseTime) -> str:
    counts = (str(n) if n else "" for n in (one.n_built, one.n_timed, one.n_scored))
    share = f"{100 * one.cpu_s / max(whole.cpu_s, 1e-9):.0f} %"
    cells = figures((f"{one.cpu_s:.1f}", share, f"{one.wall_s:.1f}", *counts))
    return f"<tr><td>{escape(one.phase)}</td>{cells}<td></td></tr>"
