"""What `nas bench` shows in a terminal, within 100 characters."""

from collections.abc import Sequence
from os.path import commonpath
from pathlib import Path

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from nas.bench import N_VISITS, Benchmark, Line
from nas.words import about, estimate

WIDTH, ROOMY = 100, 90
"""Characters that are used at most, and from which on columns stand two apart."""
FILE_WIDTH = 25
NOTHING = "—"


def shown(found: Benchmark, width: int = WIDTH) -> RenderableType:
    """The table, then why a target refuses, and what the columns mean; closer together where the terminal is narrow."""
    gap = 2 if width >= ROOMY else 1
    view = Table(header_style="bold", box=None, pad_edge=False, padding=(0, gap, 0, 0))
    view.add_column("file", overflow="fold")
    for name in ("KiB", "p50", "p90", "p99", "95 % of p50", "ratio", "its 95 %"):
        view.add_column(name, justify="right", no_wrap=True)
    names = short_names([line.artifact.path for line in found.lines])
    reasons: dict[str, str] = {}
    heading = ""
    for line in found.lines:
        if line.target.label != heading:
            if heading:
                view.add_row()
            heading = line.target.label
            view.add_row(Text(heading, style="bold"))
        mark = ""
        if line.refusal:
            mark = reasons.setdefault(line.refusal, f"[{len(reasons) + 1}]")
        view.add_row(*_cells(line, names[line.artifact.path], mark, line.artifact.path == found.anchor))
    notes = [f"{NOTHING} {mark} {_sentence(reason)}" for reason, mark in reasons.items()]
    notes += _columns(found) + _origins(found.lines) if found.found else []
    return Constrain(Group(view, Text(), Text("\n".join(notes), style="dim")), WIDTH)


def _columns(found: Benchmark) -> list[str]:
    """What the columns mean, as far as there is something in them."""
    notes = ["KiB: of the file. p50: milliseconds of one inference at the median, -1t: on one thread."]
    ratio = f"ratio: time as a multiple of that of the anchor, {found.anchor.name}"
    if any(line.latency is not None and line.latency.visits for line in found.lines):
        notes.append(f"{ratio}, timed in turn with it; its own, against itself, shows the noise.")
    else:
        notes.append(f"{ratio}.")
    return notes


def short_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Each file's name, with as much of its folders as tells it from the others; cut at the front where too long."""
    different = list(dict.fromkeys(paths))
    names = {path: path.name for path in different}
    if len(set(names.values())) < len(different):
        common = commonpath([path.absolute().parent for path in different])
        names = {path: str(path.absolute().relative_to(common)) for path in different}
    return {path: name if len(name) <= FILE_WIDTH else f"…{name[1 - FILE_WIDTH :]}" for path, name in names.items()}


def _cells(line: Line, name: str, mark: str, is_anchor: bool) -> tuple[str, ...]:
    size = f"{line.artifact.size_bytes / 1024:.0f}"
    latency = line.latency
    if latency is None:
        return (name, size, f"{NOTHING} {mark}", *[NOTHING] * 5)
    source = latency.source
    certain = is_anchor and source == "predicted"  # to itself, by definition
    return (
        name,
        size,
        about(_ms(latency.median_s), source),
        _ms(line.percentile_s(0.9)),
        _ms(line.percentile_s(0.99)),
        f"{_ms(latency.low_s)}-{_ms(latency.high_s)}",
        "1" if certain else about(f"{latency.ratio:.3f}", source),
        NOTHING if certain else f"{latency.ratio_low:.3f}-{latency.ratio_high:.3f}",
    )


def _origins(lines: Sequence[Line]) -> list[str]:
    """Where figures come from: an estimate, or visits of an earlier call."""
    notes = []
    errors = {line.target.label: line.latency.known_error for line in lines if line.latency and not line.latency.visits}
    notes += [f"~ {label} is an {estimate(error)}." for label, error in errors.items()]
    if any(line.latency is not None and line.latency.visits for line in lines):
        kept = sum(line.n_kept > 0 for line in lines)
        again = (
            f" {kept} of {len(lines)} lines rest on visits kept from an earlier call (--fresh measures again), perhaps "
            f"at another pace of the machine: go by the ratios."
        )
        notes.append(f"Measured in {N_VISITS} visits a line, in turn with the others.{again if kept else ''}")
    return notes


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    value = 1e3 * seconds
    n_digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{n_digits}f}"


def _sentence(reason: str) -> str:
    text = reason.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
