"""The public tables from beginning to end: tasks, one CPU in detail, time, report."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from latency_models.predict.choosing import choose
from latency_models.predict.features import table_of
from latency_models.predict.graph import Constant, Shape, graph_of
from latency_models.predict.learned import learn_table
from latency_models.predict.variants import Variants
from prediction.few_samples import Noise, Outcome, few_samples, mean_of, noise, of_all, source_predictors
from prediction.outcomes import remembered
from prediction.public_data import SIMULATED, TASKS, Space, Task, space
from prediction.public_report import write
from prediction.spaces import fbnet

N_SAMPLES = 20
CORTEX = Task("A76", "nb201", (), ("cortexA76_tflite21",), float("nan"))
N_RECIPES = 10_000
EXPANDED, N_BLOCKS = 3, 22
"""The FBNet operation whose inner width is six times its input's, in all blocks."""
TIE = 0.005


def run(names: Sequence[str], n_seeds: int, data: Path, keep: Path | None, out: Path) -> None:
    """Runs the tasks of these names, prints each as it is done, writes the report, prints the figures."""
    tasks = [task for task in TASKS if task.name in names]
    spaces = {name: space(name, keep, data) for name in sorted({task.space for task in tasks} | {"nb201", "fbnet"})}
    outcomes: list[Outcome] = []
    for task in tasks:
        outcomes += _task(spaces[task.space], task, N_SAMPLES, n_seeds, keep)
    few = _task(spaces["nb201"], TASKS[0], 10, n_seeds, keep)
    cortex = [one for n in (20, 50) for one in _task(spaces["nb201"], CORTEX, n, n_seeds, keep)]
    limits = _limits(spaces, tasks, keep)
    figures = _figures(tasks, outcomes, few, cortex)
    figures["recipes_cpu_s"] = recipes_cpu_s(spaces["fbnet"])
    write(out, tasks, [*outcomes, *few, *cortex], limits, figures, n_seeds)
    for name, value in figures.items():
        print(f"{name}={value:.4f}")


def _task(within: Space, task: Task, n: int, n_seeds: int, keep: Path | None) -> list[Outcome]:
    sources = list(source_predictors(within, task.sources).values())
    found = [
        remembered(
            keep,
            (task.name, target, seed, n),
            partial(few_samples, within, task, target, seed, n, sources),
        )
        for target in task.targets
        for seed in range(n_seeds)
    ]
    print(f"{task.name} from {n}: Spearman {mean_of(found, lambda one: one.spearman):.4f}", flush=True)
    return found


def _limits(
    spaces: Mapping[str, Space], tasks: Sequence[Task], keep: Path | None
) -> dict[tuple[str, str], tuple[Outcome, Noise | None]]:
    """Of each (space, device): what the same features reach from four fifths of the table, and the noise."""
    wanted = dict.fromkeys([("nb201", CORTEX.targets[0]), *((t.space, target) for t in tasks for target in t.targets)])
    found = {}
    for name, device in wanted:
        most = remembered(keep, ("all", name, device), partial(of_all, spaces[name], device))
        found[name, device] = (most, noise(spaces[name], device))
    return found


def _figures(
    tasks: Sequence[Task], outcomes: Sequence[Outcome], few: Sequence[Outcome], cortex: Sequence[Outcome]
) -> dict[str, float]:
    means = {t.name: mean_of([one for one in outcomes if one.task == t.name], _spearman) for t in tasks}
    figures = {f"spearman_{name}": value for name, value in means.items()}
    figures["spearman_mean"] = float(np.mean(list(means.values())))
    figures["tasks_won_or_tied"] = float(sum(means[task.name] >= task.nasflat - TIE for task in tasks))
    figures["spearman_mean_of_measured_targets"] = _of_measured(tasks, outcomes)
    figures["spearman_ND_from_10"] = mean_of(few, _spearman)
    figures["covered"] = float(np.mean([one.covered for one in outcomes]))
    for n in (20, 50):
        part = [one for one in cortex if one.n_samples == n]
        figures[f"cortex_a76_within_10_from_{n}"] = float(np.mean([one.within_10 for one in part]))
        figures[f"cortex_a76_covered_from_{n}"] = float(np.mean([one.covered for one in part]))
    return figures


def _of_measured(tasks: Sequence[Task], outcomes: Sequence[Outcome]) -> float:
    """Mean Spearman over tasks, targets that are simulated or sums of a table left out, and tasks of such targets."""
    means = []
    for task in tasks:
        targets = [target for target in task.targets if target not in SIMULATED[task.space]]
        part = [one for one in outcomes if one.task == task.name and one.target in targets]
        if part:
            means.append(mean_of(part, _spearman))
    return float(np.mean(means))


def recipes_cpu_s(within: Space) -> float:
    """CPU seconds from 10,000 recipes of one topology, each with other widths, to their predicted latencies."""
    known, seconds = within.seconds("gold_6240")
    table = within.table.rows(known)
    picked = np.array(choose(table, 50, 0))
    learned = learn_table(table.rows(picked), seconds[picked], "gold_6240", around=table)
    graph = graph_of(fbnet([EXPANDED] * N_BLOCKS))
    generator = np.random.default_rng(0)
    recipes = [_narrowed(graph.constants, generator) for _ in range(N_RECIPES)]
    start = time.process_time()
    variants = Variants(graph)
    learned.predict(table_of(variants.network(recipe) for recipe in recipes))
    return time.process_time() - start


def _narrowed(constants: Mapping[str, Constant], generator: np.random.Generator) -> dict[str, Shape]:
    """The shapes of the constants of an FBNet whose blocks have other inner widths: of each block a pointwise, a
    depthwise and a pointwise convolution, each with the four constants of its batch norm."""
    changed, names = {}, list(constants)
    for block in range(N_BLOCKS):
        first = names[5 + 15 * block : 20 + 15 * block]
        n = int(generator.integers(1, constants[first[0]].shape[0] + 1))
        for name in first[:10]:
            changed[name] = (n, *constants[name].shape[1:])
        changed[first[10]] = (constants[first[10]].shape[0], n, 1, 1)
    return changed


def _spearman(outcome: Outcome) -> float:
    return outcome.spearman
