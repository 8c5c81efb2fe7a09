"""What `nas explain` shows in a terminal, within 100 characters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from latency_models.ceilings import Ceilings
from latency_models.explain import Row
from latency_models.explaining.finding import percent
from latency_models.explaining.matching import Profile
from nas.words import about, estimate, milliseconds

if TYPE_CHECKING:
    from nas.explain import Report

TINY = 0.01
"""Share of both networks' time below which kernels are summed up in one line."""
DRIFT = 0.03
"""By how much more than the inference its kernels may take together, unsaid."""
SPREAD = 0.15
"""How far apart the rounds' sums of kernels may lie, unsaid."""
WIDTH, ALL_COLUMNS = 100, 98
"""Characters that are used at most, and below which not all columns are shown."""
NAME_WIDTH, NARROW_NAME_WIDTH = 22, 18
NOTHING = "—"
VISIBLE_S = 0.05e-6
"""Less is shown as 0.0 µs, to which there is no ratio."""
SHORT = {
    "QuantizeLinear": "Quantize", "DequantizeLinear": "Dequantize", "GlobalAveragePool": "GlobalPool",
    "LayerNormalization": "LayerNorm", "BatchNormalization": "BatchNorm",
}  # fmt: skip
BOUNDS = {"compute": "c", "memory": "m", "": ""}


def shown(report: "Report", width: int = WIDTH) -> RenderableType:
    """Latency and summary, findings, the kernels, and what the columns mean.

    Args:
        report: what to show.
        width: of the terminal; below `ALL_COLUMNS` characters the rates are left out rather than cut.
    """
    explanation = report.explanation
    parts: list[RenderableType] = [Text(_headline(report)), Text(explanation.summary, style="bold"), Text()]
    for finding in explanation.findings:
        share = finding.seconds / explanation.student.whole_s
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(justify="right", width=6)
        line.add_column(ratio=1)
        line.add_row(Text(percent(share), style="bold"), Text(finding.words))
        parts += [line, Text()]
    parts += [_table(report, width), Text(), Text("\n".join(_notes(report, width)), style="dim")]
    return Constrain(Group(*parts), WIDTH)


def _headline(report: "Report") -> str:
    latency, teacher_s = report.latency, report.explanation.teacher.end_to_end_s
    interval = f"95 %: {100 * latency.ratio_low:.1f} to {100 * latency.ratio_high:.1f} %"
    mine, ratio, theirs = (
        about(figure, latency.source)
        for figure in (milliseconds(latency.median_s), f"{100 * latency.ratio:.1f} %", milliseconds(teacher_s))
    )
    return f"{report.student} on {report.target.label}: {mine}, {ratio} of {report.teacher}'s {theirs} ({interval})."


def _table(report: "Report", width: int) -> Table:
    view = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    wide, roofs = width >= ALL_COLUMNS, _has_roofs(report)
    view.add_column("kernel", no_wrap=True, max_width=NAME_WIDTH if wide else NARROW_NAME_WIDTH)
    view.add_column("operator", no_wrap=True, max_width=10)
    mark = "~" if report.latency.source == "predicted" else ""
    for name in ("channels", f"{mark}µs", "share", f"{mark}teacher", "ratio", *_rates(wide, roofs)):
        view.add_column(name, justify="right", no_wrap=True)
    explanation = report.explanation
    student_s, teacher_s = explanation.student.whole_s, explanation.teacher.whole_s
    large = [row for row in explanation.rows if row.share >= TINY or _teacher_s(row) >= TINY * teacher_s]
    tiny = [row for row in explanation.rows if row not in large]
    for row in large:
        view.add_row(*_cells(row, wide, roofs))
    if tiny:
        mine_s, theirs_s = sum(map(_student_s, tiny)), sum(map(_teacher_s, tiny))
        others = "(1 other)" if len(tiny) == 1 else f"({len(tiny)} others)"
        view.add_row(others, "", "", *_times(mine_s, theirs_s, mine_s / student_s), style="dim")
    student, teacher = explanation.student, explanation.teacher
    gaps = _times(_gap_s(student), _gap_s(teacher), student.between_s / student_s)
    view.add_row("(between kernels)", "", "", *gaps, style="dim")
    whole = _times(student.end_to_end_s, teacher.end_to_end_s, student.end_to_end_s / student_s)
    view.add_row("end to end", "", "", *whole, style="bold")
    return view


def _rates(wide: bool, roofs: bool) -> tuple[str, ...]:
    """Columns of what a kernel achieves: as many as there is room for and something in."""
    return (*(("GFLOP/s", "GB/s") if wide else ()), *(("of roof",) if roofs else ()))


def _has_roofs(report: "Report") -> bool:
    return any(row.roofline is not None for row in report.explanation.rows)


def _gap_s(profile: Profile) -> float | None:
    """Time between kernels, None where the kernels take so long that there is none to see."""
    return profile.between_s if profile.excess <= 0 else None


def _cells(row: Row, wide: bool, roofs: bool) -> tuple[str, ...]:
    mine, theirs = row.pair.student, row.pair.teacher
    kernel = mine or theirs
    assert kernel is not None
    operator = SHORT.get(kernel.operator, kernel.operator)
    channels = f"{kernel.n_in}→{kernel.n_out}" if kernel.n_in and kernel.n_out else ""
    times = _times(_student_s(row) if mine else None, _teacher_s(row) if theirs else None, row.share)
    work = {
        "GFLOP/s": f"{row.flops_per_s / 1e9:.1f}" if row.flops_per_s else "",
        "GB/s": f"{row.bytes_per_s / 1e9:.1f}" if row.bytes_per_s else "",
        "of roof": "" if row.roofline is None else f"{100 * row.roofline:.0f} % {BOUNDS[row.bound]}",
    }
    name = _cut(row.pair.name, NAME_WIDTH if wide else NARROW_NAME_WIDTH)
    return (name, operator, channels, *times, *(work[column] for column in _rates(wide, roofs)))


def _times(mine_s: float | None, theirs_s: float | None, share: float) -> tuple[str, ...]:
    """Microseconds, share, the teacher's microseconds and the ratio."""
    ratio = f"{mine_s / theirs_s:.2f}" if mine_s is not None and theirs_s and theirs_s >= VISIBLE_S else NOTHING
    return _micro(mine_s), percent(share) if mine_s is not None else "", _micro(theirs_s), ratio


def _notes(report: "Report", width: int) -> list[str]:
    notes = [_doubts(report)] if _doubts(report) else []
    notes.append("teacher: µs of the teacher's kernel, found by name and order (best effort); — where there is none.")
    if report.ceilings is not None and _has_roofs(report):
        precisions = {row.pair.student.precision for row in report.explanation.rows if row.pair.student is not None}
        without = " and ".join(sorted(precisions - set(report.ceilings.flops_per_s)))
        blank = f" Blank in {without}, for which no ceiling is measured." if without else ""
        notes += [
            f"of roof: least time this machine allows / time taken; limited by c: arithmetic, m: memory.{blank}",
            _ceilings(report.ceilings),
        ]
    if width < ALL_COLUMNS:
        notes.append(f"A terminal of {ALL_COLUMNS} columns also shows each kernel's GFLOP/s and GB/s.")
    return notes


def _doubts(report: "Report") -> str:
    """Why the figures of the kernels may be off, "" where nothing says so."""
    if report.latency.source == "predicted":
        return f"All times are an {estimate(report.latency.known_error)}."
    excesses = {"student": report.explanation.student.excess, "teacher": report.explanation.teacher.excess}
    if max(excesses.values()) > DRIFT:
        by = ", ".join(f"{name}: {percent(excess)}" for name, excess in excesses.items() if excess > DRIFT)
        return (
            f"The kernels add up to more than the inference ({by}), and shares are of their sum. Either the machine "
            f"was slower then (run it again on a quiet one), or the target's profiler runs them otherwise than an "
            f"inference does; the end-to-end line is measured without it."
        )
    if report.spread > SPREAD:
        return (
            f"The student's kernels together differ by {percent(report.spread)} from round to round: the machine is "
            f"busy, and shares may be off as much. Run it again on a quiet machine."
        )
    return ""


def _ceilings(found: Ceilings) -> str:
    threads = "1 thread" if found.n_threads == 1 else f"{found.n_threads} threads"
    peaks = ", ".join(f"{value / 1e9:.0f} GFLOP/s in {name}" for name, value in found.flops_per_s.items())
    levels = ", ".join(f"{one.bytes_per_s / 1e9:.0f} GB/s from {one.name}" for one in found.levels)
    return (
        f"Ceilings: the best that other code reached here on {threads}, measured once and kept (--fresh: again): "
        f"{peaks}; {levels}."
    )


def _student_s(row: Row) -> float:
    return row.pair.student.seconds if row.pair.student is not None else 0.0


def _teacher_s(row: Row) -> float:
    return row.pair.teacher.seconds if row.pair.teacher is not None else 0.0


def _micro(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    return f"{1e6 * seconds:.1f}" if seconds < 99.95e-6 else f"{1e6 * seconds:.0f}"


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else f"…{name[1 - width :]}"


def lines(report: "Report", width: int = WIDTH) -> Sequence[str]:
    """The report as plain text, for files and tests."""
    from rich.console import Console

    console = Console(width=width, no_color=True)
    with console.capture() as captured:
        console.print(report)
    return captured.get().splitlines()
