"""The front for a browser: the same picture as `nas.plot` draws, by plotly, with words on hover."""

import math
from html import escape

import numpy as np
import plotly.graph_objects as go

from nas.front import Front, latency_of
from nas.plane import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    TICKS,
    TIMES,
    Frame,
    Group,
    frame_of,
    groups,
    labels,
    latency_title,
    stairs,
)
from nas.record import Record
from nas.words import Sites, about, against_teacher, changes, estimate, milliseconds, percent, score, summary

_SHAPES = {"float32": "circle", "int8": "square", "float16": "triangle-up"}


def figure(
    front: Front,
    title: str = "",
    budget_ratio: float | None = None,
    sites: Sites | None = None,
    frame: Frame | None = None,
) -> go.Figure:
    """The same picture for a browser; hovering says what was changed, the score, and the latency with its interval.

    Everything outside the frame (by default that of `frame_of`) is there too: a double click shows it.
    """
    frame = frame or frame_of(front, budget_ratio)
    picture = go.Figure()
    xs, ys = stairs(front, frame)
    line = {"color": BLUE, "width": 2, "shape": "hv", "dash": "dash" if front.is_predicted else "solid"}
    picture.add_scatter(x=xs, y=ys, mode="lines", line=line, hoverinfo="skip", showlegend=False, opacity=0.6)
    for group in groups(front):
        picture.add_trace(_trace(front, frame, group, sites))
    _annotate(picture, front, frame, budget_ratio)
    _lay_out(picture, front, frame, title)
    return picture


def _trace(front: Front, frame: Frame, group: Group, sites: Sites | None) -> go.Scatter:
    latencies = [latency_of(record) for record in group.records]
    bars = {
        "type": "data",
        "array": [100 * (latency.ratio_high - latency.ratio) for latency in latencies],
        "arrayminus": [100 * (latency.ratio - latency.ratio_low) for latency in latencies],
        "color": BLUE if group.role == "member" else INK,
        "thickness": 1.2,
        "width": 3,
    }
    return go.Scatter(
        x=[100 * latency.ratio for latency in latencies],
        y=[frame.scale * front.accuracy_of(record) for record in group.records],
        mode="markers",
        name=escape(group.name),
        marker=_look(group),
        error_x=None if group.role == "other" else bars,
        hovertext=[hover(front, record, sites) for record in group.records],
        hoverinfo="text",
    )


def _look(group: Group) -> dict[str, object]:
    """How plotly draws the points of a group; what was predicted is hollow."""
    looks: dict[str, tuple[str, int, str]] = {
        "other": (GREY, 7, "circle"),
        "member": (BLUE, 11, _SHAPES.get(group.precision, "circle")),
        "teacher": (INK, 14, "diamond"),
    }
    color, size, shape = looks[group.role]
    opacity = 0.55 if group.role == "other" else 1.0
    if group.is_predicted:
        line = {"color": color, "width": 2 if group.role != "other" else 1}
        return {"color": "white", "size": size, "symbol": shape, "line": line}
    return {"color": color, "size": size, "symbol": shape, "opacity": opacity, "line": {"color": "white", "width": 1}}


def hover(front: Front, record: Record, sites: Sites | None = None) -> str:
    """What a reader sees over a point, as HTML with everything escaped."""
    latency = latency_of(record)
    which_set = "test" if front.tested and record.test_accuracy is not None else "validation"
    changed = changes(record.recipe, sites)

    def tilde(figure: str) -> str:
        return about(figure, latency.source)

    lines = [
        f"<b>{escape(record.id)}</b>",
        f"{escape(front.metric)} {score(front.accuracy_of(record), front.is_share)} on the {which_set} set, "
        f"{against_teacher(front.drop_of(record), front.is_share)}",
        f"{tilde(milliseconds(latency.median_s))} [{milliseconds(latency.low_s)}, {milliseconds(latency.high_s)}] "
        f"{latency.source}, {tilde(f'{1 / latency.ratio:.2f}{TIMES}')} faster",
        f"{tilde(percent(latency.ratio, 1))} [{percent(latency.ratio_low, 1)}, {percent(latency.ratio_high, 1)}] "
        "of the teacher's latency",
        *([f"<b>{estimate(latency.known_error)}</b>"] if latency.source == "predicted" else []),
        f"<i>{escape(summary(record.recipe, sites))}</i>",
        *(f"· {escape(line)}" for line in changed[:10]),
        *([f"· and {len(changed) - 10} more"] if len(changed) > 10 else []),
    ]
    return "<br>".join(lines)


def _annotate(picture: go.Figure, front: Front, frame: Frame, budget_ratio: float | None) -> None:
    """The budget line and the labels; plotly places annotations on a logarithmic axis by the exponent."""

    def place(x: float) -> float:
        return math.log10(x) if frame.is_log else x

    style = {"showarrow": False, "xanchor": "right", "yanchor": "bottom", "xshift": -7, "yshift": 3}
    for x, y, text in labels(front, frame, budget_ratio):
        picture.add_annotation(x=place(x), y=y, text=text, font={"size": 13}, **style)
    if budget_ratio is not None:
        picture.add_vline(x=100 * budget_ratio, line={"color": ORANGE, "dash": "dash", "width": 1.5})
        style = {"showarrow": False, "xanchor": "left", "yanchor": "top", "xshift": 4, "bgcolor": "white"}
        text = f"budget {100 * budget_ratio:.3g} %"
        picture.add_annotation(x=place(100 * budget_ratio), y=1, yref="paper", text=text, font_color=ORANGE, **style)


def _lay_out(picture: go.Figure, front: Front, frame: Frame, title: str) -> None:
    ticks = [tick for tick in TICKS if frame.x_low <= tick <= frame.x_high]
    x_range = [frame.x_low, frame.x_high]
    x_axis: dict[str, object] = {"title": latency_title(front, "<br>"), "ticksuffix": " %", "range": x_range}
    if frame.is_log:
        x_axis |= {"type": "log", "range": np.log10(x_range).tolist(), "tickvals": ticks}
        x_axis |= {"ticktext": [f"{tick:g} %" for tick in ticks], "ticksuffix": ""}
    y_axis = {"title": front.metric, "range": [frame.y_low, frame.y_high], "ticksuffix": " %" if front.is_share else ""}
    axis = {"gridcolor": "#E6E9ED", "zeroline": False, "linecolor": "#C4CAD0"}
    picture.update_layout(
        title={"text": escape(title), "x": 0.01} if title else None,
        template="plotly_white",
        font={"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 14, "color": INK},
        xaxis=axis | x_axis,
        yaxis=axis | y_axis,
        hoverlabel={"bgcolor": "white", "align": "left", "font": {"size": 13, "color": INK}},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        margin={"l": 70, "r": 20, "t": 100 if title else 70, "b": 75 if front.estimate_drawn else 60},
        height=560,
    )
