"""What part of the plane of latency and score a picture shows, and the words and colours that all pictures share.

The latency axis shows the ratio to the teacher's latency, which is what the front is ordered by (see `nas.front`).
Colours are from Okabe and Ito's palette, and shapes repeat what colours say. What was not measured but predicted is
drawn hollow, its line dashed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from nas.front import Front, latency_of, precision_of
from nas.record import Record
from nas.words import about, milliseconds

BLUE, ORANGE, INK, GREY = "#0072B2", "#D55E00", "#22272E", "#9AA3AD"
TIMES, MINUS = "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}"
TICKS = tuple(100 * digit * 10.0**power for power in range(-5, 3) for digit in (1, 2, 5))
ESTIMATED = ", estimate"
"""How the names of groups of predicted latencies end."""
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


Role = Literal["other", "member", "teacher"]


@dataclass(frozen=True)
class Group:
    """Records that are drawn alike.

    Attributes:
        role: beside the front, on it, or the teacher.
        name: in the legend.
        precision: of the members, empty else.
        records: at least one.
        is_predicted: whether their latencies are estimates, so drawn hollow.
    """

    role: Role
    name: str
    precision: str
    records: tuple[Record, ...]
    is_predicted: bool


def frame_of(front: Front, budget_ratio: float | None = None, zoom: float = 1.0) -> Frame:
    """The part of the plane worth showing.

    Vertically it is zoomed to the better members: what lies further below the best than three times the median
    distance of the members (at least four points of a share) is left out, so that a very inaccurate student does
    not squash the rest. A picture of a share `zoom` of the usual width keeps that much more room for labels.
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
    room = (right / left) ** (0.22 / zoom) if is_log else 0.22 / zoom * (right - left) + 5.0
    x_low, x_high = (left / room, right * 1.22) if is_log else (max(0.0, left - room), right * 1.08)
    return Frame(x_low, x_high, y_low, y_high, is_log, scale, _n_below(front, scale, y_low))


def frames_of(fronts: Mapping[str, Front], budget_ratios: Mapping[str, float], zoom: float = 1.0) -> dict[str, Frame]:
    """The frame of each front, all with the same vertical axis, so that pictures side by side can be compared."""
    frames = {label: frame_of(front, budget_ratios.get(label), zoom) for label, front in fronts.items()}
    low, high = min(frame.y_low for frame in frames.values()), max(frame.y_high for frame in frames.values())
    return {
        label: replace(frame, y_low=low, y_high=high, hidden=_n_below(fronts[label], frame.scale, low))
        for label, frame in frames.items()
    }


def groups(front: Front) -> list[Group]:
    """Everything with a score in the order it is drawn: beside the front, its members by precision, the teacher."""
    members: dict[str, list[Record]] = {}
    for member in front.members:
        members.setdefault(precision_of(member), []).append(member)
    named: list[tuple[Role, str, str, Sequence[Record]]] = [("other", others_label(front), "", front.dominated)]
    named += [("member", f"front, {precision}", precision, members[precision]) for precision in sorted(members)]
    named.append(("teacher", "teacher", "", [front.teacher]))
    found = []
    for role, name, precision, records in named:
        for source, suffix in (("measured", ""), ("predicted", ESTIMATED)):
            alike = tuple(record for record in records if latency_of(record).source == source)
            found += [Group(role, name + suffix, precision, alike, bool(suffix))] if alike else []
    return found


def stairs(front: Front, frame: Frame) -> tuple[list[float], list[float]]:
    """Corners of the front line, latency in % and score: members, then the teacher where no member beats it."""
    points = [(100 * latency_of(m).ratio, frame.scale * front.accuracy_of(m)) for m in front.members]
    best = max((y for _, y in points), default=-np.inf)
    teacher = (100 * latency_of(front.teacher).ratio, frame.scale * front.accuracy_of(front.teacher))
    points += [teacher] if teacher[1] > best else []
    points.append((frame.x_high, points[-1][1]))
    return [x for x, _ in points], [y for _, y in points]


def labels(
    front: Front, frame: Frame, budget_ratio: float | None = None, zoom: float = 1.0
) -> list[tuple[float, float, str]]:
    """Speed-up and drop of the members that matter most, as many as fit without touching: (latency %, score, text).

    First the most accurate within the budget, then the fastest and the most accurate, then the others.

    Args:
        front: to label.
        frame: what part of the plane is shown.
        budget_ratio: latency budget as a share of the teacher's latency.
        zoom: width of the picture as a share of that of the picture of a single target.
    """
    shown = [m for m in front.members if frame.scale * front.accuracy_of(m) >= frame.y_low]
    fitting = [m for m in shown if budget_ratio is not None and latency_of(m).ratio_high <= budget_ratio]
    placed: list[tuple[float, float]] = []
    found = []
    for member in (*fitting[-1:], *shown[:1], *shown[-1:], *shown):
        x, y = 100 * latency_of(member).ratio, frame.scale * front.accuracy_of(member)
        across, up = frame.fractions(x, y)
        if any(abs(across - a) < 0.17 / zoom and abs(up - u) < 0.065 for a, u in placed):
            continue
        placed.append((across, up))
        below = frame.scale * front.drop_of(member)
        sign = MINUS if below > 0 else "+"
        size = f"{abs(below):.{2 if abs(below) < 1 else 1}f} pt" if front.is_share else f"{abs(below):.2g}"
        faster = about(f"{1 / latency_of(member).ratio:.1f}{TIMES}", latency_of(member).source)
        found.append((x, y, f"{faster}  {sign}{size}"))
    return found


def subtitle(front: Front) -> str:
    """One line: how many students, on what set, on which target, against which teacher."""
    students, teacher = counts(front)
    return f"{students} · {front.scores} · {front.heading} · {teacher}"


def counts(front: Front) -> tuple[str, str]:
    """How many students are on the front, and the teacher's latency."""
    n_members, n_scored = len(front.members), len(front.members) + len(front.dominated)
    noun = "student" if n_members == 1 else "students"
    latency = latency_of(front.teacher)
    teacher = about(milliseconds(latency.median_s), latency.source)
    return f"{n_members} {noun} on the front of {n_scored} scored", f"teacher {teacher}"


def latency_title(front: Front, separator: str = " · ") -> str:
    """Title of the latency axis; says of predicted latencies that they are, and how far they were off."""
    title = "latency, share of the teacher's"
    if not front.estimate_drawn:
        return title
    return f"{title}{separator}{'' if front.is_predicted else 'hollow: '}{front.estimate_drawn}"


def others_label(front: Front) -> str:
    """What the legend calls the records beside the front, and the set their scores are from where it differs."""
    untested = front.tested and any(record.test_accuracy is None for record in front.dominated)
    return "not on the front (validation set)" if untested else "not on the front"


def _n_below(front: Front, scale: float, y_low: float) -> int:
    return sum(scale * front.accuracy_of(record) < y_low for record in (*front.rows(), *front.dominated))
