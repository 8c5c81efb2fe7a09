"""What `nas tune` shows in a terminal, within 100 characters."""

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from latency_models.tvm_backend.tuning_outcome import Outcome
    from nas.tune import Report

WIDTH = 100
NAME_WIDTH = 30
NOTHING = "—"


def shown(report: "Report") -> RenderableType:
    """The kernels, the networks before and after, and where things are kept."""
    view = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    view.add_column("kernel", no_wrap=True, max_width=NAME_WIDTH)
    for name in ("calls", "rule µs", "tuned µs", "gain", "tried"):
        view.add_column(name, justify="right", no_wrap=True)
    view.add_column("")
    for outcome in report.tuning.outcomes:
        view.add_row(*_cells(outcome))
    lines = [*_networks(report), *report.tuning.damaged, *_notes(report)]
    return Constrain(Group(view, Text(), Text("\n".join(lines))), WIDTH)


def _cells(outcome: "Outcome") -> tuple[str, ...]:
    job, latency, tuned = outcome.job, outcome.latency, outcome.tuned
    before_s, after_s = job.before_s, None
    if latency is not None:
        before_s, after_s = latency.median_s / latency.ratio, latency.median_s
    elif tuned is not None:
        before_s, after_s = tuned.before_s, tuned.after_s
    return (
        job.name,
        str(job.n_calls),
        f"{1e6 * before_s:.1f}",
        NOTHING if after_s is None else f"{1e6 * after_s:.1f}",
        NOTHING if after_s is None else f"{100 * (1 - after_s / before_s):.0f} %",
        str(outcome.n_trials) if outcome.n_trials else NOTHING,
        outcome.verdict,
    )


def _networks(report: "Report") -> list[str]:
    lines = []
    for name, latency in zip(report.names, report.tuning.latencies, strict=True):
        if latency is None:
            lines.append(f"{name} on {report.target.label}: no kernel is tuned, its latency is unchanged.")
            continue
        before_s = latency.median_s / latency.ratio
        lines.append(
            f"{name} on {report.target.label}: {1e3 * before_s:.3f} ms before, {1e3 * latency.median_s:.3f} ms after, "
            f"{100 * latency.ratio:.1f} % (95 %: {100 * latency.ratio_low:.1f} to {100 * latency.ratio_high:.1f} %), "
            "timed in turn."
        )
        if latency.ratio_low <= 1 <= latency.ratio_high:
            lines.append("  The two are indistinguishable.")
    return lines


def _notes(report: "Report") -> list[str]:
    n_kept = sum(outcome.tuned is not None for outcome in report.tuning.outcomes)
    notes = [
        f"{n_kept} tuned kernels are stored and used by every later latency on {report.target.label}; latencies "
        "measured before are not mixed with them."
    ]
    if any(outcome.verdict == "no time was left" for outcome in report.tuning.outcomes):
        notes.append("The same command goes on with the kernels that are left.")
    return notes
