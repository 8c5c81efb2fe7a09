"""Two pictures of a report: hypervolume against CPU seconds, and all fronts side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from clutter.hypervolume import BOXES_POINTS, Scored
from clutter.results import OURS
from clutter.summary import Row, stairs
from nas.plane import BLUE, GREY, INK, ORANGE

COLORS = {OURS: BLUE, "torch-pruning": ORANGE, "scratch-wide": "#1A7F37", "scratch-narrow": "#8250DF", "union": INK}
TICKS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)

Fronts = Mapping[str, Sequence[Sequence[Scored]]]
"""Contender to the points of each of its runs."""


def draw_hypervolumes(rows: Sequence[Row], path: Path) -> Path:
    """A panel for each box: the median run of every contender over the CPU seconds it used, bars from worst to best."""
    picture = Figure(figsize=(12, 5), dpi=150, facecolor="white", layout="constrained")
    panels = picture.subplots(1, len(BOXES_POINTS), sharey=True)
    for axes, lost in zip(panels, BOXES_POINTS, strict=True):
        for name in dict.fromkeys(row.contender for row in rows):
            _draw_curve(axes, [row for row in rows if row.contender == name], lost, COLORS.get(name, GREY), name)
        unions = sorted(
            (row.budget_s, row.cpu_s, row.union[lost]) for row in rows if row.union and row.contender == OURS
        )
        if unions:
            seconds, shares = [one[1] for one in unions], [one[2] for one in unions]
            axes.plot(seconds, shares, "--", color=INK, marker="_", label="union of all peers (some 2,400 CPU s)")
        axes.set_xscale("log")
        ticks = sorted({row.budget_s for row in rows})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("CPU seconds, everything counted")
        axes.set_title(f"less than {lost} points lost", loc="left", fontsize=11)
        axes.grid(color="#EAEEF2")
    panels[0].set_ylabel("hypervolume, share of the box")
    handles, labels = panels[0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9)
    return _saved(picture, path)


def draw_fronts(fronts: Mapping[float, Fronts], teacher_accuracy: float, path: Path) -> Path:
    """A panel for each budget: the front of every run, accuracy over latency.

    Args:
        fronts: by budget.
        teacher_accuracy: a fraction.
        path: the PNG.
    """
    n_columns = min(2, len(fronts))
    n_rows = -(-len(fronts) // n_columns)
    size = (6.2 * n_columns, 4.6 * n_rows)
    picture = Figure(figsize=size, dpi=150, facecolor="white", layout="constrained")
    panels = picture.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axes, (budget_s, of_budget) in zip(panels, fronts.items(), strict=False):
        for name, runs in of_budget.items():
            for index, points in enumerate(runs):
                _draw_front(axes, points, COLORS.get(name, GREY), name if index == 0 else None, name == "union")
        axes.plot([100], [100 * teacher_accuracy], "D", color=INK, label="teacher")
        axes.set_title(f"{budget_s:g} CPU s", loc="left", fontsize=11)
        _style_plane(axes, teacher_accuracy)
    for axes in panels[len(fronts) :]:
        axes.set_visible(False)
    return _saved(picture, path)


def _draw_curve(axes: Axes, rows: Sequence[Row], lost: int, color: str, name: str) -> None:
    medians = [row.median(lost) for row in rows]
    low = [median - min(row.shares[lost]) for row, median in zip(rows, medians, strict=True)]
    high = [max(row.shares[lost]) - median for row, median in zip(rows, medians, strict=True)]
    seconds = [row.cpu_s for row in rows]
    axes.errorbar(seconds, medians, yerr=[low, high], marker="o", color=color, capsize=3, label=name)


def _draw_front(axes: Axes, points: Sequence[Scored], color: str, label: str | None, dashed: bool) -> None:
    kept = stairs(points)
    style = "--" if dashed else "-"
    ratios, accuracies = [100 * one.ratio for one in kept], [100 * one.accuracy for one in kept]
    axes.plot(
        [*ratios, 100], [*accuracies, accuracies[-1]], style, drawstyle="steps-post", color=color, lw=1, alpha=0.7
    )
    axes.plot(
        [100 * one.ratio for one in points], [100 * one.accuracy for one in points], "o", ms=4, color=color, label=label
    )


def _style_plane(axes: Axes, teacher_accuracy: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(2.5, 115)
    axes.set_xticks([100 * tick for tick in TICKS])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_ylim(100 * teacher_accuracy - max(BOXES_POINTS), 100 * teacher_accuracy + 0.5)
    axes.set_xlabel("latency, share of the teacher's")
    axes.set_ylabel("accuracy on the test images, %")
    axes.grid(color="#EAEEF2")
    axes.legend(loc="lower right", fontsize=9)


def _saved(picture: Figure, path: Path) -> Path:
    FigureCanvasAgg(picture)
    picture.savefig(path)
    return path
