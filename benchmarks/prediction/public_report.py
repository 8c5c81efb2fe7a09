"""Tables and a picture of what was found on the public tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from prediction.few_samples import Noise, Outcome, mean_of
from prediction.public_data import SIMULATED, Task

Limits = Mapping[tuple[str, str], tuple[Outcome, Noise | None]]


def write(
    out: Path,
    tasks: Sequence[Task],
    outcomes: Sequence[Outcome],
    limits: Limits,
    figures: Mapping[str, float],
    n_seeds: int,
) -> None:
    """Writes README.md, outcomes.csv and tasks.png to a folder."""
    out.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([vars(one) for one in outcomes]).to_csv(out / "public.csv", index=False, float_format="%.5f")
    _picture(out / "public.png", tasks, outcomes)
    parts = [
        "# Latencies of devices that are not here",
        f"`python benchmarks/latency_prediction.py public --seeds {n_seeds}`; its docstring says what is done. "
        "Data: `benchmarks/data/latency/README.md`.",
        _tasks_table(tasks, outcomes),
        "![Spearman correlation of each task](public.png)",
        "## Each target\n\n"
        "From 20 samples; beside them what the same features reach from four fifths of the table (all), and what a "
        "perfect prediction would show of measurements this noisy (limit: from pairs of isomorphic cells that do the "
        "same work). Targets with a * are simulated or sums of a table of blocks.\n\n"
        + _targets_table(tasks, outcomes, limits),
        "## All figures\n\n```\n" + "\n".join(f"{name}={value:.4f}" for name, value in figures.items()) + "\n```",
    ]
    (out / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _tasks_table(tasks: Sequence[Task], outcomes: Sequence[Outcome]) -> str:
    lines = [
        "| task | NASFLAT | Spearman | seeds | within 10 % | in the 90 % interval |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for task in tasks:
        part = _of(outcomes, task.name)
        seeds = [mean_of([one for one in part if one.seed == seed], _spearman) for seed in {one.seed for one in part}]
        lines.append(
            f"| {task.name} | {task.nasflat:.3f} | {mean_of(part, _spearman):.3f} "
            f"| {min(seeds):.3f} to {max(seeds):.3f} | {mean_of(part, lambda one: one.within_10):.1%} "
            f"| {mean_of(part, lambda one: one.covered):.1%} |"
        )
    return "\n".join(lines)


def _targets_table(tasks: Sequence[Task], outcomes: Sequence[Outcome], limits: Limits) -> str:
    lines = [
        "| task | target | Spearman | all | limit | within 10 % | all | pairs within 10 % | in the interval |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for task in tasks:
        for target in task.targets:
            part = [one for one in _of(outcomes, task.name) if one.target == target]
            most, noise = limits[task.space, target]
            star = " *" if target in SIMULATED[task.space] else ""
            limit = (f"{noise.spearman:.3f}", f"{noise.within_10:.0%}") if noise is not None else ("", "")
            lines.append(
                f"| {task.name} | {target}{star} | {mean_of(part, _spearman):.3f} | {most.spearman:.3f} | {limit[0]} "
                f"| {mean_of(part, lambda one: one.within_10):.1%} | {most.within_10:.1%} | {limit[1]} "
                f"| {mean_of(part, lambda one: one.covered):.1%} |"
            )
    return "\n".join(lines)


def _picture(path: Path, tasks: Sequence[Task], outcomes: Sequence[Outcome]) -> None:
    figure, axes = plt.subplots(figsize=(8, 3.5), layout="constrained")
    places = np.arange(len(tasks))
    axes.plot(
        places, [task.nasflat for task in tasks], "_", color="tab:gray", ms=22, mew=2, label="NASFLAT, 20 samples"
    )
    for seed in sorted({one.seed for one in outcomes}):
        means = [mean_of([one for one in _of(outcomes, t.name) if one.seed == seed], _spearman) for t in tasks]
        axes.plot(
            places, means, "o", color="tab:blue", ms=4, label="here, 20 samples, each seed" if seed == 0 else None
        )
    axes.set_xticks(places, [task.name for task in tasks])
    axes.set_ylabel("mean Spearman correlation")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower left")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _of(outcomes: Sequence[Outcome], task: str) -> list[Outcome]:
    return [one for one in outcomes if one.task == task and one.n_samples == 20]


def _spearman(outcome: Outcome) -> float:
    return outcome.spearman
