"""The front as a picture: what part of the plane is shown, and the PNG by matplotlib.

The latency axis shows the ratio to the teacher's latency, which is what the front is ordered by (see `nas.front`).
Colours are from Okabe and Ito's palette, and shapes repeat what colours say.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from nas.front import Front, latency_of, precision_of
from nas.record import Record
from nas.words import milliseconds

BLUE, ORANGE, INK, GREY = "#0072B2", "#D55E00", "#22272E", "#9AA3AD"
TIMES, MINUS = "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}"
TICKS = tuple(100 * digit * 10.0**power for power in range(-5, 3) for digit in (1, 2, 5))
_SHAPES = {"float32": "o", "int8": "s"}
_LEFT = 0.105
_WIDE = 4.0
"""From this ratio of the slowest to the fastest point on, the latency axis is logarithmic."""


@dataclass(frozen=True)
class Frame:
    """What part of the plane is shown, and in what units.

    Attributes:
        x_low, x_high: latency, % of the teacher's.
        y_low, y_high: score, in % where it is a share.
        is_log: whether the latency axis is logarithmic.
        scale: from scores to the vertical axis, 100 or 1.
        hidden: how many records lie below.
    """

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    is_log: bool
    scale: float
    hidden: int

    def fractions(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies, as shares of the width and the height."""
        low, high, at = self.x_low, self.x_high, x
        if self.is_log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return (at - low) / (high - low), (y - self.y_low) / (self.y_high - self.y_low)


def frame_of(front: Front, budget_ratio: float | None = None) -> Frame:
    """The part of the plane worth showing.

    Vertically it is zoomed to the better members: what lies further below the best than three times the median
    distance of the members (at least four points of a share) is left out, so that a very inaccurate student does
    not squash the rest.
    """
    scale = 100.0 if front.is_share else 1.0
    rows = [(100 * latency_of(record).ratio, scale * front.accuracy_of(record)) for record in front.rows()]
    best = max(y for _, y in rows)
    below = [best - y for _, y in rows]
    reach = min(max(below), max(4.0 if front.is_share else 0.0, 3.0 * float(np.median(below))))
    reach = max(reach, 1.0 if front.is_share else 0.01 * abs(best), 1e-9)
    y_low, y_high = best - 1.12 * reach, best + 0.18 * reach
    ratios = [x for x, y in rows if y >= y_low]
    ratios += [] if budget_ratio is None else [100 * budget_ratio]
    left, right = min(ratios), max(ratios)
    is_log = right / left > _WIDE
    # To the left there must be room for the label of the fastest member.
    room = (right / left) ** 0.22 if is_log else 0.22 * (right - left) + 5.0
    x_low, x_high = (left / room, right * 1.22) if is_log else (max(0.0, left - room), right * 1.08)
    hidden = sum(scale * front.accuracy_of(record) < y_low for record in (*front.rows(), *front.dominated))
    return Frame(x_low, x_high, y_low, y_high, is_log, scale, hidden)


def stairs(front: Front, frame: Frame) -> tuple[list[float], list[float]]:
    """Corners of the front line, latency in % and score: members, then the teacher where no member beats it."""
    points = [(100 * latency_of(m).ratio, frame.scale * front.accuracy_of(m)) for m in front.members]
    best = max((y for _, y in points), default=-np.inf)
    teacher = (100 * latency_of(front.teacher).ratio, frame.scale * front.accuracy_of(front.teacher))
    points += [teacher] if teacher[1] > best else []
    points.append((frame.x_high, points[-1][1]))
    return [x for x, _ in points], [y for _, y in points]


def labels(front: Front, frame: Frame, budget_ratio: float | None = None) -> list[tuple[float, float, str]]:
    """Speed-up and drop of the members that matter most, as many as fit without touching: (latency %, score, text).

    First the most accurate within the budget, then the fastest and the most accurate, then the others.
    """
    shown = [m for m in front.members if frame.scale * front.accuracy_of(m) >= frame.y_low]
    fitting = [m for m in shown if budget_ratio is not None and latency_of(m).ratio_high <= budget_ratio]
    placed: list[tuple[float, float]] = []
    found = []
    for member in (*fitting[-1:], *shown[:1], *shown[-1:], *shown):
        x, y = 100 * latency_of(member).ratio, frame.scale * front.accuracy_of(member)
        across, up = frame.fractions(x, y)
        if any(abs(across - a) < 0.17 and abs(up - u) < 0.065 for a, u in placed):
            continue
        placed.append((across, up))
        below = frame.scale * front.drop_of(member)
        sign = MINUS if below > 0 else "+"
        size = f"{abs(below):.{2 if abs(below) < 1 else 1}f} pt" if front.is_share else f"{abs(below):.2g}"
        found.append((x, y, f"{1 / latency_of(member).ratio:.1f}{TIMES}  {sign}{size}"))
    return found


def write_png(front: Front, path: Path, title: str, budget_ratio: float | None = None) -> Path:
    """Draws the front into a PNG of 1800 by 1080 pixels, readable when scaled to a third of that."""
    frame = frame_of(front, budget_ratio)
    picture = Figure(figsize=(10, 6), dpi=180, facecolor="white")
    FigureCanvasAgg(picture)
    axes = picture.add_axes((_LEFT, 0.125, 0.97 - _LEFT, 0.735))
    _style(axes, frame, front)
    _draw_points(axes, front, frame)
    if budget_ratio is not None:
        _draw_budget(axes, frame, budget_ratio)
    _draw_labels(axes, front, frame, budget_ratio)
    picture.text(_LEFT, 0.945, _plain(title), fontsize=16, fontweight="bold", color=INK, va="center")
    picture.text(_LEFT, 0.893, _plain(subtitle(front)), fontsize=11, color="#57606A", va="center")
    axes.legend(loc="lower right", frameon=True, framealpha=0.9, edgecolor="none", fontsize=10.5, labelcolor=INK)
    picture.savefig(path)
    return path


def subtitle(front: Front) -> str:
    """One line: how many students, on what set, on which target, against which teacher."""
    which_set = "test" if front.tested else "validation"
    n_members, n_scored = len(front.members), len(front.members) + len(front.dominated)
    noun = "student" if n_members == 1 else "students"
    teacher = milliseconds(latency_of(front.teacher).median_s)
    scores = f"{front.metric} on the {which_set} set"
    return f"{n_members} {noun} on the front of {n_scored} scored · {scores} · {front.target} · teacher {teacher}"


def others_label(front: Front) -> str:
    """What the legend calls the records beside the front, and the set their scores are from where it differs."""
    untested = front.tested and any(record.test_accuracy is None for record in front.dominated)
    return "not on the front (validation set)" if untested else "not on the front"


def _style(axes: Axes, frame: Frame, front: Front) -> None:
    if frame.is_log:
        axes.set_xscale("log")
        axes.set_xticks([tick for tick in TICKS if frame.x_low <= tick <= frame.x_high])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(frame.x_low, frame.x_high)
    axes.set_ylim(frame.y_low, frame.y_high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    if front.is_share:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_xlabel("latency, share of the teacher's", fontsize=12, color=INK, labelpad=8)
    axes.set_ylabel(_plain(front.metric), fontsize=12, color=INK, labelpad=8)
    axes.tick_params(labelsize=11, length=0, colors="#57606A", pad=6)
    axes.grid(color="#E6E9ED", linewidth=0.9)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#C4CAD0")


def _draw_points(axes: Axes, front: Front, frame: Frame) -> None:
    def place(records: Sequence[Record]) -> tuple[list[float], list[float]]:
        return (
            [100 * latency_of(record).ratio for record in records],
            [frame.scale * front.accuracy_of(record) for record in records],
        )

    axes.plot(*stairs(front, frame), drawstyle="steps-post", color=BLUE, linewidth=2, alpha=0.55, zorder=3)
    if front.dominated:
        xs, ys = place(front.dominated)
        axes.scatter(xs, ys, s=26, color=GREY, alpha=0.5, linewidths=0, label=others_label(front), zorder=2)
    for precision in sorted({precision_of(member) for member in front.members}):
        members = [member for member in front.members if precision_of(member) == precision]
        xs, ys = place(members)
        low = [x - 100 * latency_of(member).ratio_low for x, member in zip(xs, members, strict=True)]
        high = [100 * latency_of(member).ratio_high - x for x, member in zip(xs, members, strict=True)]
        axes.errorbar(xs, ys, xerr=[low, high], fmt="none", ecolor=BLUE, elinewidth=1.4, capsize=3, zorder=4)
        shape = _SHAPES.get(precision, "o")
        label = f"front, {precision}"
        axes.scatter(xs, ys, 72, BLUE, marker=shape, edgecolors="white", linewidths=1.2, label=label, zorder=5)
    axes.scatter(*place([front.teacher]), marker="D", s=95, color=INK, edgecolors="white", label="teacher", zorder=5)
    if frame.hidden:
        text = f"{frame.hidden} less accurate, not shown"
        axes.text(0.0, -0.13, text, transform=axes.transAxes, fontsize=10, color="#57606A")


def _draw_budget(axes: Axes, frame: Frame, budget_ratio: float) -> None:
    x = 100 * budget_ratio
    axes.axvspan(frame.x_low, x, color=ORANGE, alpha=0.05, linewidth=0, zorder=0)
    axes.axvline(x, color=ORANGE, linestyle=(0, (5, 3)), linewidth=1.5, zorder=1)
    text = f"budget {100 * budget_ratio:g} %"
    top = frame.y_low + 0.985 * (frame.y_high - frame.y_low)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.annotate(text, (x, top), (6, 0), textcoords="offset points", fontsize=11, color=ORANGE, va="top", bbox=box)


def _draw_labels(axes: Axes, front: Front, frame: Frame, budget_ratio: float | None) -> None:
    style: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": 11, "color": INK}
    for x, y, text in labels(front, frame, budget_ratio):
        axes.annotate(text, (x, y), (-7, 5), textcoords="offset points", zorder=6, **style)


def _plain(text: str) -> str:
    """Text in which matplotlib sees no formula."""
    return text.replace("$", r"\$")
