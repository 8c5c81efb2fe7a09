"""The report of a campaign, made anew from the JSON that its runs left: README.md and two pictures."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from clutter.campaign import Campaign
from clutter.hypervolume import BOXES_POINTS
from clutter.pictures import Fronts, draw_fronts, draw_hypervolumes
from clutter.results import OURS, Entry, Point, Timing, load_entries, load_timings
from clutter.scores import scored
from clutter.summary import Row, is_timed, rows_of
from nas.errors import UserError
from nas.files import write_atomic

HYPERVOLUMES, FRONTS, PAGE = "hypervolume.png", "fronts.png", "README.md"
NOTES = "notes.md"
"""Written by hand beside the page; it is copied into it."""


def write_report(campaign: Campaign) -> Path:
    """Writes README.md, hypervolume.png and fronts.png into the campaign's results.

    Raises:
        UserError: nothing was run and timed yet.
    """
    timings = load_timings(campaign.json_folder)
    entries = [entry for entry in load_entries(campaign.json_folder) if is_timed(entry, timings)]
    rows = rows_of(entries, timings, campaign.union)
    if not rows:
        raise UserError(f"{campaign.json_folder} has no timed runs.", "Run the benchmark first.")
    budgets_s = sorted({row.budget_s for row in rows})
    fronts = {budget_s: fronts_at(budget_s, entries, timings[budget_s], campaign.union) for budget_s in budgets_s}
    draw_hypervolumes(rows, campaign.results / HYPERVOLUMES)
    draw_fronts(fronts, timings[budgets_s[0]].teacher_accuracy, campaign.results / FRONTS)
    notes_path = campaign.results / NOTES
    notes = notes_path.read_text(encoding="utf-8").strip() if notes_path.is_file() else ""
    used = {budget_s: timings[budget_s] for budget_s in budgets_s}
    text = page(campaign.name, rows, entries, used, campaign.union, notes)
    write_atomic(campaign.results / PAGE, text.encode())
    return campaign.results / PAGE


def fronts_at(budget_s: float, entries: Sequence[Entry], timing: Timing, union: Sequence[Point]) -> Fronts:
    """The points of every run at a budget, by contender, and of the union."""
    here = [entry for entry in entries if entry.budget_s == budget_s]
    fronts = {
        name: [scored(entry.points, timing) for entry in here if entry.contender == name]
        for name in dict.fromkeys(entry.contender for entry in here)
    }
    return {**fronts, "union": [scored(union, timing)]} if union else fronts


def page(
    name: str,
    rows: Sequence[Row],
    entries: Sequence[Entry],
    timings: Mapping[float, Timing],
    union: Sequence[Point],
    notes: str = "",
) -> str:
    """The report as Markdown.

    Args:
        name: of the task.
        rows: hypervolumes.
        entries: of the rows.
        timings: by budget.
        union: files of all peers together.
        notes: Markdown that stands below the tables.
    """
    parts = [
        f"# {name}: the best front per CPU second",
        _how(timings),
        *(_score_table(rows, lost) for lost in BOXES_POINTS),
        f"![hypervolume against CPU seconds]({HYPERVOLUMES})",
        f"![fronts]({FRONTS})",
        *([notes] if notes else []),
        "## Every file",
        *(_file_table(budget_s, entries, timing, union) for budget_s, timing in timings.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _how(timings: Mapping[float, Timing]) -> str:
    last = list(timings.values())[-1]
    taken = last.taken
    nulls = [ratio for timing in timings.values() for ratio in timing.null_ratios]
    return (
        f"{taken['processor']}, {taken['n_cores']} cores, ONNX Runtime {taken['onnxruntime']}, one thread, batch 1. "
        f"The teacher scores {100 * last.teacher_accuracy:.2f} % on the test images and takes "
        f"{1e3 * statistics.median(last.teacher_s):.2f} ms.\n\n"
        "Hypervolume of (latency as a share of the teacher's, accuracy on the test images) as a share of the box below "
        "ratio 1 and less than 3 (5) percentage points under the teacher. Fronts were chosen on validation data. CPU "
        "seconds are those of all processes of a run, from its start to its end; the peers had the teacher's logits "
        "free. All files of one budget were timed in the same passes, one file at a time in turns with the teacher; "
        f"ratios are medians over {', '.join(_when(budget_s, timing) for budget_s, timing in timings.items())}. The "
        f"teacher against itself was between {min(nulls):.3f} and {max(nulls):.3f}."
    )


def _when(budget_s: float, timing: Timing) -> str:
    return f"{len(timing.null_ratios)} passes ({budget_s:g} s: {timing.taken['at']})"


def _score_table(rows: Sequence[Row], lost: int) -> str:
    with_union = any(row.union for row in rows)
    head = ["contender", "CPU s allowed", "used", "runs", f"hypervolume at {lost} points", "worst to best"]
    lines = []
    for row in rows:
        shares = row.shares[lost]
        spread = f"{min(shares):.3f} to {max(shares):.3f}" if row.n_seeds > 1 else ""
        cells = [_bold(row.contender), f"{row.budget_s:g}", f"{row.cpu_s:.0f}", str(row.n_seeds)]
        cells += [f"{row.median(lost):.3f}", spread]
        if row.union:
            cells += [f"{row.union[lost]:.3f}", f"{row.median(lost) - row.union[lost]:+.3f}"]
        lines.append(cells)
    return table([*head, *(("union of all peers", "difference") if with_union else ())], lines)


def _bold(contender: str) -> str:
    return f"**{contender}**" if contender == OURS else contender


def _file_table(budget_s: float, entries: Sequence[Entry], timing: Timing, union: Sequence[Point]) -> str:
    here = [entry for entry in entries if entry.budget_s == budget_s]
    shown = [(f"{entry.contender}, seed {entry.seed}", point) for entry in here for point in entry.points]
    shown += [("union", point) for point in union]
    lines = []
    for who, point in shown:
        found = timing.files[point.digest]
        chosen_by = "" if point.validation_accuracy is None else f"{100 * point.validation_accuracy:.2f}"
        spread = f"{100 * min(found.ratios):.1f} to {100 * max(found.ratios):.1f}"
        cells = [who, point.name, f"{100 * found.accuracy:.2f}", chosen_by]
        lines.append([*cells, f"{100 * statistics.median(found.ratios):.1f}", spread, f"{point.size_bytes / 1024:.0f}"])
    lines.sort(key=lambda cells: (cells[0], float(cells[4])))
    head = ["contender", "file", "test accuracy, %", "validation, %", "latency, % of the teacher's", "passes", "KiB"]
    return f"### {budget_s:g} CPU seconds\n\n" + table(head, lines)


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; rows that are shorter than the head are filled up."""
    filled = [[*cells, *[""] * (len(head) - len(cells))] for cells in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *filled))
