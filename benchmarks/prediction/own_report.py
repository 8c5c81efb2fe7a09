"""Tables and a picture of what was found on our own targets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import NullFormatter

from prediction.own_data import Group

if TYPE_CHECKING:
    from prediction.own_run import Judged

TICKS_MS = (0.01, 0.03, 0.1, 0.3, 1)


def write(
    out: Path,
    groups: Sequence[Group],
    few: Sequence["Judged"],
    unknown: Sequence["Judged"],
    figures: Mapping[str, float],
    n_seeds: int,
) -> None:
    """Writes own.md, own.csv and own.png to a folder."""
    out.mkdir(parents=True, exist_ok=True)
    rows = [vars(one.outcome) | {"n_held_out": len(one.seconds)} for one in (*few, *unknown)]
    pd.DataFrame(rows).to_csv(out / "own.csv", index=False, float_format="%.5f")
    _picture(out / "own.png", groups, few, unknown)
    parts = [
        "# Latencies on our own targets",
        f"`python benchmarks/latency_prediction.py own --seeds {n_seeds}`; its docstring says what is done.",
        "From 50 measured students of the same teacher (their kernels timed, too), all others held out. "
        "Again: how far a student's first visit is from the median of its other ones, that is how good measuring it "
        "once would have been. Unknown: from kernels alone, no student of this teacher measured as a whole. Quiet: "
        "visits in which the teacher beside was within 5 % of its best; where that is a small share, other work on the "
        "machine or its host disturbed most visits, and neither what is learned from nor what it is held against is a "
        "student's latency on an idle machine. ms: the teacher's latency at its best. Below, "
        "calibrated: from as many students, with the kernels of as many timed, as `nas calibrate` measures.",
        _table(groups, few, unknown),
        "![Predicted over measured latency of each held-out student](own.png)",
        "## All figures\n\n```\n" + "\n".join(f"{name}={value:.4f}" for name, value in figures.items()) + "\n```",
    ]
    (out / "own.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _table(groups: Sequence[Group], few: Sequence["Judged"], unknown: Sequence["Judged"]) -> str:
    from prediction.own_run import apart_of, shared

    lines = [
        "| target | teacher | ms | held out | within 10 % | 5 % | in the 90 % interval | visits | again 10 % | 5 % "
        "| unknown 10 % | quiet |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for group in sorted(groups, key=lambda one: (one.target, one.teacher)):
        own = [one for one in few if _is_of(one, group)]
        new = [one for one in unknown if _is_of(one, group)]
        apart = apart_of(group)
        again = (f"{(apart <= 0.1).mean():.0%}", f"{(apart <= 0.05).mean():.0%}") if len(apart) else ("", "")
        lines.append(
            f"| {group.target} | {group.teacher} | {1e3 * group.teacher_s:.2f} | {len(own[0].seconds)} "
            f"| {shared(own, lambda o: o.within_10):.1%} | {shared(own, lambda o: o.within_5):.1%} "
            f"| {shared(own, lambda o: o.covered):.1%} | {np.mean([len(one) for one in group.visits_s]):.1f} "
            f"| {again[0]} | {again[1]} | {f'{new[0].outcome.within_10:.1%}' if new else ''} | {group.quiet:.0%} |"
        )
    return "\n".join(lines)


def _is_of(one: "Judged", group: Group) -> bool:
    return (one.outcome.task, one.outcome.target) == (group.teacher, group.target)


def _picture(path: Path, groups: Sequence[Group], few: Sequence["Judged"], unknown: Sequence["Judged"]) -> None:
    targets = list(dict.fromkeys(group.target for group in groups))
    figure, axes = plt.subplots(
        2, len(targets), figsize=(4 * len(targets), 6), layout="constrained", sharex="col", sharey=True, squeeze=False
    )
    teachers = sorted({group.teacher for group in groups})
    rows = ((few, "from 50 students"), (unknown, "from kernels alone"))
    for row, (found, title) in enumerate(rows):
        for column, target in enumerate(targets):
            axis = axes[row][column]
            axis.axhspan(-10, 10, color="tab:gray", alpha=0.15, lw=0)
            axis.axhspan(-5, 5, color="tab:gray", alpha=0.15, lw=0)
            part = [one for one in found if one.outcome.target == target and one.outcome.seed == 0]
            for one in part:
                off = 100 * (one.predicted.seconds / one.seconds - 1)
                axis.plot(
                    1e3 * one.seconds,
                    off,
                    ".",
                    ms=4,
                    color=f"C{teachers.index(one.outcome.task)}",
                    label=one.outcome.task,
                )
            axis.set_xscale("log")
            axis.set_xticks(TICKS_MS, [f"{tick:g}" for tick in TICKS_MS])
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set_ylim(-50, 50)
            axis.set_title(f"{target}, {title}", fontsize=10)
            if row == 1:
                axis.set_xlabel("measured latency, ms")
            if column == 0:
                axis.set_ylabel("predicted too high by, %")
            axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
