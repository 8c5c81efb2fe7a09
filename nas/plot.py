"""The fronts as a PNG by matplotlib: one panel for each target."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from nas.front import Front, latency_of
from nas.plane import (
    BLUE,
    ESTIMATED,
    GREY,
    INK,
    ORANGE,
    TICKS,
    Frame,
    Group,
    counts,
    frame_of,
    frames_of,
    groups,
    labels,
    latency_title,
    stairs,
    subtitle,
)

_SHAPES = {"float32": "o", "int8": "s", "float16": "^"}
_SOFT = "#57606A"
_LEFT = 0.105
_PANEL_ZOOM = 0.7
"""Width of one of several panels as a share of a single one's."""


def write_png(
    fronts: Mapping[str, Front], path: Path, title: str, budget_ratios: Mapping[str, float] | None = None
) -> Path:
    """Draws the fronts into a PNG: 1800 by 1080 pixels for one target, two panels in a row for several.

    Args:
        fronts: by the labels of their targets.
        path: the PNG file.
        title: of the picture.
        budget_ratios: latency budgets as shares of the teacher's latency, by target.
    """
    ratios = budget_ratios or {}
    if len(fronts) == 1:
        ((label, front),) = fronts.items()
        picture = _single(front, title, ratios.get(label))
    else:
        picture = _several(fronts, title, ratios)
    FigureCanvasAgg(picture)
    picture.savefig(path)
    return path


def _single(front: Front, title: str, budget_ratio: float | None) -> Figure:
    picture = Figure(figsize=(10, 6), dpi=180, facecolor="white")
    axes = picture.add_axes((_LEFT, 0.125, 0.97 - _LEFT, 0.735))
    _draw(axes, front, frame_of(front, budget_ratio), budget_ratio)
    line = subtitle(front)
    size = min(11.0, 11.0 * 95 / len(line))  # 95 characters of 11 points are as wide as the panel
    picture.text(_LEFT, 0.945, _plain(title), fontsize=16, fontweight="bold", color=INK, va="center")
    picture.text(_LEFT, 0.893, _plain(line), fontsize=size, color=_SOFT, va="center")
    axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=10.5, labelcolor=INK)
    return picture


def _several(fronts: Mapping[str, Front], title: str, ratios: Mapping[str, float]) -> Figure:
    """Panels two in a row with one vertical scale; one legend, in the free cell or below."""
    n_rows, is_odd = (len(fronts) + 1) // 2, len(fronts) % 2 == 1
    above, below = 1.75, 0.85 if is_odd else 1.35  # inches
    high = 5.0 * n_rows + above + below - 1.2
    picture = Figure(figsize=(15, high), dpi=130, facecolor="white")
    panels = picture.subplots(n_rows, 2, squeeze=False)
    picture.subplots_adjust(0.065, below / high, 0.985, 1 - above / high, wspace=0.17, hspace=0.45)
    frames = frames_of(fronts, ratios, _PANEL_ZOOM)
    for axes, (label, front) in zip(panels.flat, fronts.items(), strict=False):
        _draw(axes, front, frames[label], ratios.get(label), _PANEL_ZOOM)
        axes.set_title(_plain(front.heading), loc="left", fontsize=14, fontweight="bold", color=INK, pad=26)
        axes.text(0, 1.03, _plain(" · ".join(counts(front))), transform=axes.transAxes, fontsize=10.5, color=_SOFT)
    line = f"{len(fronts)} targets · {next(iter(fronts.values())).scores}"
    picture.text(0.065, 1 - 0.4 / high, _plain(title), fontsize=18, fontweight="bold", color=INK, va="center")
    picture.text(0.065, 1 - 0.76 / high, _plain(line), fontsize=12, color=_SOFT, va="center")
    handles = _legend(fronts)
    look: dict[str, Any] = {"frameon": False, "labelcolor": INK}
    if is_odd:
        panels[-1, 1].set_axis_off()
        panels[-1, 1].legend(handles=handles, loc="upper left", fontsize=13, labelspacing=0.9, **look)
    else:
        at = (0.055, 0.08 / high)
        picture.legend(handles=handles, loc="lower left", bbox_to_anchor=at, fontsize=11, ncols=len(handles), **look)
    return picture


def _legend(fronts: Mapping[str, Front]) -> list[Line2D]:
    """An entry for each shape of any panel, and one that says what hollow means."""
    kinds: dict[tuple[str, str], Group] = {}
    drawn = [group for front in fronts.values() for group in groups(front)]
    for group in sorted(drawn, key=lambda one: (one.role, one.precision)):
        kinds.setdefault((group.role, group.precision), group)
    solid = [replace(group, name=group.name.removesuffix(ESTIMATED), is_predicted=False) for group in kinds.values()]
    hollow = [Group("member", "hollow, dashed, ~: estimate, not measured", "float32", (), True)]
    shown = [*solid, *(hollow if any(group.is_predicted for group in drawn) else [])]
    return [_entry(group) for group in shown]


def _entry(group: Group) -> Line2D:
    look = _look(group)
    size, edge = math.sqrt(look["s"]), look.get("edgecolors", "none")
    mark = {"marker": look.get("marker", "o"), "markerfacecolor": look["color"], "markeredgecolor": edge}
    return Line2D([], [], linestyle="", markersize=size, alpha=look.get("alpha"), label=_plain(group.name), **mark)


def _draw(axes: Axes, front: Front, frame: Frame, budget_ratio: float | None, zoom: float = 1.0) -> None:
    _style(axes, frame, front, "\n" if zoom < 1 else " · ")
    _draw_points(axes, front, frame)
    if frame.hidden:
        text = f"{frame.hidden} less accurate, not shown"
        place = (0.0, -0.13) if zoom >= 1 else (0.012, 0.03)
        axes.text(*place, text, transform=axes.transAxes, fontsize=10, color=_SOFT)
    if budget_ratio is not None:
        _draw_budget(axes, frame, budget_ratio)
    style: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": 11, "color": INK}
    for x, y, text in labels(front, frame, budget_ratio, zoom):
        axes.annotate(text, (x, y), (-7, 5), textcoords="offset points", zorder=6, **style)


def _style(axes: Axes, frame: Frame, front: Front, separator: str) -> None:
    if frame.is_log:
        axes.set_xscale("log")
        axes.set_xticks([tick for tick in TICKS if frame.x_low <= tick <= frame.x_high])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(frame.x_low, frame.x_high)
    axes.set_ylim(frame.y_low, frame.y_high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    if front.is_share:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    size = 10.5 if front.estimate_drawn else 12
    axes.set_xlabel(_plain(latency_title(front, separator)), fontsize=size, color=INK, labelpad=8)
    axes.set_ylabel(_plain(front.metric), fontsize=12, color=INK, labelpad=8)
    axes.tick_params(labelsize=11, length=0, colors=_SOFT, pad=6)
    axes.grid(color="#E6E9ED", linewidth=0.9)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#C4CAD0")


def _draw_points(axes: Axes, front: Front, frame: Frame) -> None:
    dashes = "--" if front.is_predicted else "-"
    line: dict[str, Any] = {"color": BLUE, "linewidth": 2, "linestyle": dashes, "alpha": 0.55, "zorder": 3}
    axes.plot(*stairs(front, frame), drawstyle="steps-post", **line)
    for group in groups(front):
        xs = [100 * latency_of(record).ratio for record in group.records]
        ys = [frame.scale * front.accuracy_of(record) for record in group.records]
        if group.role == "member":
            low = [x - 100 * latency_of(one).ratio_low for x, one in zip(xs, group.records, strict=True)]
            high = [100 * latency_of(one).ratio_high - x for x, one in zip(xs, group.records, strict=True)]
            axes.errorbar(xs, ys, xerr=[low, high], fmt="none", ecolor=BLUE, elinewidth=1.4, capsize=3, zorder=4)
        axes.scatter(xs, ys, label=_plain(group.name), **_look(group))


def _look(group: Group) -> dict[str, Any]:
    """How matplotlib draws the points of a group."""
    looks: dict[str, dict[str, Any]] = {
        "other": {"s": 26, "color": GREY, "alpha": 0.5, "linewidths": 0, "zorder": 2},
        "member": {"s": 72, "color": BLUE, "marker": _SHAPES.get(group.precision, "o"), "zorder": 5},
        "teacher": {"s": 95, "color": INK, "marker": "D", "zorder": 5},
    }
    look = looks[group.role]
    if group.is_predicted:
        return look | {"color": "white", "edgecolors": look["color"], "linewidths": 1.6, "alpha": None}
    return look if group.role == "other" else look | {"edgecolors": "white", "linewidths": 1.2}


def _draw_budget(axes: Axes, frame: Frame, budget_ratio: float) -> None:
    x = 100 * budget_ratio
    axes.axvspan(frame.x_low, x, color=ORANGE, alpha=0.05, linewidth=0, zorder=0)
    axes.axvline(x, color=ORANGE, linestyle=(0, (5, 3)), linewidth=1.5, zorder=1)
    text = f"budget {100 * budget_ratio:.3g} %"
    top = frame.y_low + 0.985 * (frame.y_high - frame.y_low)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.annotate(text, (x, top), (6, 0), textcoords="offset points", fontsize=11, color=ORANGE, va="top", bbox=box)


def _plain(text: str) -> str:
    """Text in which matplotlib sees no formula."""
    return text.replace("$", r"\$")
