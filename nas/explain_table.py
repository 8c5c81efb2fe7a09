"""What `nas explain` shows in a terminal, within 100 characters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from latency_models.ceilings import Ceilings
from latency_models.explain import Row
from nas.words import about, estimate, milliseconds

if TYPE_CHECKING:
    from nas.explain import Report

TINY = 0.01
"""Share of both networks' time below which kernels are summed up in one line."""
DRIFT, FOREIGN = 0.03, 0.5
"""By how much more than the inference its kernels may take together: unsaid, and with the machine's drift to blame."""
WIDTH = 100
NAME_WIDTH = 22
NOTHING = "—"
SHORT = {
    "QuantizeLinear": "Quantize", "DequantizeLinear": "Dequantize", "GlobalAveragePool": "GlobalPool",
    "LayerNormalization": "LayerNorm", "BatchNormalization": "BatchNorm",
}  # fmt: skip
BOUNDS = {"compute": "c", "memory": "m", "": ""}


def shown(report: "Report") -> RenderableType:
    """Latency and summary, findings, the kernels, and what the columns mean."""
    explanation = report.explanation
    parts: list[RenderableType] = [Text(_headline(report)), Text(explanation.summary, style="bold"), Text()]
    for finding in explanation.findings:
        share = finding.seconds / explanation.student.whole_s
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(justify="right", width=6)
        line.add_column(ratio=1)
        line.add_row(Text(_percent(share), style="bold"), Text(finding.words))
        parts += [line, Text()]
    parts += [_table(report), Text(), Text("\n".join(_notes(report)), style="dim")]
    return Constrain(Group(*parts), WIDTH)


def _headline(report: "Report") -> str:
    latency, teacher_s = report.latency, report.explanation.teacher.end_to_end_s
    interval = f"95 %: {100 * latency.ratio_low:.1f} to {100 * latency.ratio_high:.1f} %"
    source = latency.source
    return (
        f"{report.student} on {report.target.label}: {about(milliseconds(latency.median_s), source)}, "
        f"{about(f'{100 * latency.ratio:.1f} %', source)} of {report.teacher}'s {milliseconds(teacher_s)} ({interval})."
    )


def _table(report: "Report") -> Table:
    view = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    view.add_column("kernel", no_wrap=True, max_width=NAME_WIDTH)
    view.add_column("operator", no_wrap=True, max_width=10)
    mark = "~" if report.latency.source == "predicted" else ""
    for name in ("channels", f"{mark}µs", "share", f"{mark}teacher", "ratio", "GFLOP/s", "GB/s", "of roof"):
        view.add_column(name, justify="right", no_wrap=True)
    explanation = report.explanation
    student_s, teacher_s = explanation.student.whole_s, explanation.teacher.whole_s
    large = [row for row in explanation.rows if row.share >= TINY or _teacher_s(row) >= TINY * teacher_s]
    tiny = [row for row in explanation.rows if row not in large]
    for row in large:
        view.add_row(*_cells(row))
    if tiny:
        mine_s, theirs_s = sum(map(_student_s, tiny)), sum(map(_teacher_s, tiny))
        view.add_row(f"({len(tiny)} others)", "", "", *_times(mine_s, theirs_s, mine_s / student_s), style="dim")
    mine_s, theirs_s = explanation.student.between_s, explanation.teacher.between_s
    view.add_row("(between kernels)", "", "", *_times(mine_s, theirs_s, mine_s / student_s), style="dim")
    whole = _times(explanation.student.end_to_end_s, explanation.teacher.end_to_end_s, 1.0)
    view.add_row("end to end", "", "", *whole, style="bold")
    return view


def _cells(row: Row) -> tuple[str, ...]:
    mine, theirs = row.pair.student, row.pair.teacher
    kernel = mine or theirs
    assert kernel is not None
    operator = SHORT.get(kernel.operator, kernel.operator)
    channels = f"{kernel.n_in}→{kernel.n_out}" if kernel.n_in and kernel.n_out else ""
    times = _times(_student_s(row) if mine else None, _teacher_s(row) if theirs else None, row.share)
    work = (
        f"{row.flops_per_s / 1e9:.1f}" if row.flops_per_s else "",
        f"{row.bytes_per_s / 1e9:.1f}" if row.bytes_per_s else "",
        "" if row.roofline is None else f"{100 * row.roofline:.0f} % {BOUNDS[row.bound]}",
    )
    return (_cut(row.pair.name), operator, channels, *times, *work)


def _times(mine_s: float | None, theirs_s: float | None, share: float) -> tuple[str, ...]:
    """Microseconds, share, the teacher's microseconds and the ratio."""
    ratio = f"{mine_s / theirs_s:.2f}" if mine_s is not None and theirs_s else NOTHING
    return _micro(mine_s), _percent(share) if mine_s is not None else "", _micro(theirs_s), ratio


def _notes(report: "Report") -> list[str]:
    explanation, notes = report.explanation, list[str]()
    if report.latency.source == "predicted":
        notes.append(f"All times are an {estimate(report.latency.known_error)}.")
    else:
        excess = explanation.student.kernels_s / explanation.student.end_to_end_s - 1
        if excess > FOREIGN:
            notes.append(
                f"The kernels add up to {_percent(excess)} more than the inference, so the target's profiler runs them "
                f"otherwise than an inference does: believe the end-to-end line, and the kernels' shares with care."
            )
        elif excess > DRIFT:
            notes.append(
                f"The kernels add up to {_percent(excess)} more than the inference: they were timed while the machine "
                f"was slower. Run it again on a quiet machine."
            )
    notes.append("teacher: µs of the teacher's kernel, found by name and order (best effort); — where there is none.")
    if report.ceilings is not None:
        notes += [
            "of roof: least time this machine allows / time taken; limited by c: arithmetic, m: memory.",
            _ceilings(report.ceilings),
        ]
    return notes


def _ceilings(found: Ceilings) -> str:
    threads = "1 thread" if found.n_threads == 1 else f"{found.n_threads} threads"
    peaks = ", ".join(f"{value / 1e9:.0f} GFLOP/s in {name}" for name, value in found.flops_per_s.items())
    levels = ", ".join(f"{one.bytes_per_s / 1e9:.0f} GB/s from {one.name}" for one in found.levels)
    return f"Ceilings measured here on {threads}: {peaks}; {levels}."


def _student_s(row: Row) -> float:
    return row.pair.student.seconds if row.pair.student is not None else 0.0


def _teacher_s(row: Row) -> float:
    return row.pair.teacher.seconds if row.pair.teacher is not None else 0.0


def _micro(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    return f"{1e6 * seconds:.1f}" if seconds < 99.95e-6 else f"{1e6 * seconds:.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0095 or share == 0 else f"{100 * share:.1f} %"


def _cut(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"…{name[1 - NAME_WIDTH :]}"


def lines(report: "Report", width: int = WIDTH) -> Sequence[str]:
    """The report as plain text, for files and tests."""
    from rich.console import Console

    console = Console(width=width, no_color=True)
    with console.capture() as captured:
        console.print(shown(report))
    return captured.get().splitlines()
