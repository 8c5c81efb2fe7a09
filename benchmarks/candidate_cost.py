"""What one candidate costs: CPU seconds of building, repairing, exporting, timing and scoring it, step by step.

    python benchmarks/candidate_cost.py [--teacher F:build --data F:make_data --weights W] [--n 30] [--threads 1]

By default on the teacher of `cluttered_digits.py`.

Candidates are what a search scores: the teacher shrunk evenly and at random, and crossings of these, every second one
in int8. They go through `nas.evaluate.evaluate` as in a search; the timing worker's CPU seconds are counted too. Each
candidate is a fresh architecture, so nothing is shared with one of another precision; what the second precision of a
known architecture costs is measured after that. Prints its figures last, one `name=value` a line.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from clutter import task as cluttered_digits

import nas.evaluate as evaluating
from latency_models.measured import Measured
from nas.config import Settings
from nas.deadline import Deadline
from nas.ledger import open_ledger
from nas.loading import task_of
from nas.progress import make_progress
from nas.record import Record
from nas.strategies.designs import designs
from nas.workbench import Workbench, open_workbench
from search_spaces.recipe import Recipe

STEPS = ("build", "export_artifact", "parity", "cost", "timed", "growing_score", "put")
PRECISIONS = ("float32", "int8")


@dataclass
class Account:
    """CPU seconds by step of the candidate at hand.

    Attributes:
        bench: whose worker processes count too.
        spent_s: seconds of this process and the workers, by step.
    """

    bench: Workbench
    spent_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def cpu_s(self) -> float:
        """CPU seconds of this process and of the workers so far."""
        pids = [model.worker_pid for model in self.bench.models.values() if isinstance(model, Measured)]
        # The clock that Linux keeps for another process, see clock_getcpuclockid(3).
        return time.process_time() + sum(time.clock_gettime(~pid << 3 | 2) for pid in pids if pid)

    def counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its CPU seconds added under a name."""

        def call(*args: Any, **named: Any) -> Any:
            start_s = self.cpu_s()
            try:
                return function(*args, **named)
            finally:
                self.spent_s[name] += self.cpu_s() - start_s

        return call


@contextlib.contextmanager
def accounts(bench: Workbench) -> Iterator[Account]:
    """The account of what `nas.evaluate` does meanwhile."""
    account = Account(bench)
    owners = {"build": type(bench.space), "put": type(bench.ledger)}
    with contextlib.ExitStack() as stack:
        for name in STEPS:
            owner = owners.get(name, evaluating)
            function = account.counted(name, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, function))
        yield account


def architectures(bench: Workbench, n: int, seed: int) -> list[Recipe]:
    """Recipes without precision, all different."""
    generator = np.random.default_rng(seed)
    found = list(dict.fromkeys([*designs(bench.space, generator), *designs(bench.space, generator)]))
    found = found[: n * 2 // 3]
    while len(found) < n:
        first, second = (found[int(i)] for i in generator.choice(len(found), 2, replace=False))
        crossed = evaluating.architecture_of(bench.space.crossover(first, second, generator))
        if crossed and crossed not in found:
            found.append(crossed)
    return [found[int(index)] for index in generator.permutation(n)]


def costs(bench: Workbench, recipes: list[Recipe], title: str) -> tuple[list[float], dict[str, float]]:
    """CPU seconds of each candidate, and the medians of each step's; prints a row for each."""
    totals, steps = list[float](), defaultdict[str, list[float]](list)
    print(f"{title}\n{'':34s}total {'  '.join(f'{name[:6]:>6s}' for name in (*STEPS, 'rest'))}")
    with accounts(bench) as account:
        for recipe in recipes:
            account.spent_s.clear()
            start_s = account.cpu_s()
            record = evaluating.evaluate(bench, recipe)
            totals.append(account.cpu_s() - start_s)
            account.spent_s["rest"] = totals[-1] - sum(account.spent_s.values())
            for name in (*STEPS, "rest"):
                steps[name].append(account.spent_s[name])
            row = "  ".join(f"{account.spent_s[name]:6.3f}" for name in (*STEPS, "rest"))
            print(f"{_words(record)} {totals[-1]:6.3f} {row}", flush=True)
    return totals, {name: float(np.median(values)) for name, values in steps.items()}


def _words(record: Record) -> str:
    precision = str(record.recipe.get("precision", "float32"))
    if record.failure is not None or record.latency is None:
        return f"{precision:8s} {(record.failure or 'not timed')[:25]:25s}"
    half = (record.latency.ratio_high - record.latency.ratio_low) / 2 / record.latency.ratio
    n = record.environment["n_validation"]
    return f"{precision:8s} {record.latency.ratio:.3f} ±{half:5.1%} {record.accuracy:.4f} {n:>5s}"


def measure(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """The figures, as lines to print."""
    settings = Settings(
        arguments.teacher or cluttered_digits.NAME,
        "40%",
        data=arguments.data,
        weights=arguments.weights,
        seed=arguments.seed,
        precision=PRECISIONS,
        training_threads=arguments.threads,
    )
    task = task_of(settings) if arguments.teacher else cluttered_digits.task()
    deadline = Deadline(3600.0)
    progress = make_progress(sys.stderr, deadline.elapsed_s, deadline.left_s, "silent")
    with (
        open_ledger(folder, create=True) as ledger,
        open_workbench(folder, settings, task, ledger, deadline, progress) as bench,
    ):
        chosen = architectures(bench, arguments.n, arguments.seed)
        first = [evaluating.in_precision(bench, one, PRECISIONS[i % 2]) for i, one in enumerate(chosen)]
        evaluating.evaluate(bench, first.pop(0))  # loads what is loaded once
        totals, steps = costs(bench, first, "fresh architectures")
        again = list[float]()
        for one in first[: len(first) // 3]:
            pair = [
                evaluating.in_precision(bench, bench.space.mutate(one, np.random.default_rng(0)), p) for p in PRECISIONS
            ]
            again += costs(bench, pair, "one architecture in both precisions")[0][1:]
        of = {
            p: [t for t, r in zip(totals, first, strict=True) if r.get("precision", "float32") == p] for p in PRECISIONS
        }
    return [
        *(f"{name.removesuffix('_artifact')}_cpu_s={value:.4f}" for name, value in steps.items()),
        *(f"{name}_candidate_cpu_s={np.median(values):.3f}" for name, values in of.items()),
        f"int8_of_known_architecture_cpu_s={np.median(again):.3f}",
        f"slowest_candidate_cpu_s={max(totals):.3f}",
        f"candidate_cpu_s={np.median(totals):.3f}",
    ]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", help="as for `nas search`")
    parser.add_argument("--data", help="as for `nas search`")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--n", type=int, default=30, help="candidates")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(measure(arguments, Path(folder))))


if __name__ == "__main__":
    main()
