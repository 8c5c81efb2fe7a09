"""The same search with measured and with predicted latencies: what the fronts cover, and what was measured for it.

    python benchmarks/predicted_search.py [--task fashion-mnist|digits] [--time-budget cpu:150s] [--seeds 1] [--n 40]

Calibrates the target first (`nas calibrate`; what an earlier call has measured is kept), then searches with each seed
twice with equal settings, once `--latency measured` and once `--latency predicted`. With `--n 0` nothing is calibrated
and the search learns from what it measures itself; the user's cache is then left aside.

The hypervolume is that of the confirmed front, measured and scored on the test set in either search, in the box below
the teacher's latency and down to five percentage points below its accuracy. Measurements are counted at the one place
that all of them pass, `Measured.visits`: every visit of every artifact, confirmation, checks and the teacher included;
and how many different networks (kernels; a recipe trained further is the same one) were visited. Prints figures last,
one `name=value` a line; ratios are of the sums, respectively means, over seeds.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from clutter.hypervolume import Scored, share_of_box

import nas
from latency_models.artifact import Artifact
from latency_models.latency import Visit
from latency_models.measured import Measured
from latency_models.predict.kernels import Network, network_of
from latency_models.timing import Plan
from nas.cli import main as command
from nas.run import Run

LOST_POINTS = 5
LATENCY_BUDGET = {"fashion-mnist": "30%", "digits": "25%"}


@dataclass
class Counted:
    """Measurements of one search.

    Attributes:
        n_visits: visits of artifacts.
        networks: that were visited, the teacher's aside.
    """

    n_visits: int = 0
    networks: set[Network] = field(default_factory=set)


@dataclass(frozen=True)
class Outcome:
    """One search.

    Attributes:
        hypervolume: of its front, as a share of the box.
        n_visits, n_networks: that were measured.
        n_students: that were scored.
    """

    hypervolume: float
    n_visits: int
    n_networks: int
    n_students: int


@contextmanager
def counting() -> Iterator[Counted]:
    """Counts what passes `Measured.visits`."""
    counted, visits = Counted(), Measured.visits

    def counted_visits(self: Measured, artifacts: Mapping[str, Artifact], plan: Plan | None = None) -> dict[str, Visit]:
        counted.n_visits += len(artifacts)
        counted.networks.update(network_of(one) for one in artifacts.values() if one.path.name != "teacher.onnx")
        return visits(self, artifacts, plan)

    with mock.patch.object(Measured, "visits", counted_visits):
        yield counted


def searched(options: argparse.Namespace, latency: str, seed: int) -> Outcome:
    """One search, fresh."""
    with counting() as counted:
        run = nas.search(
            options.task,
            latency_budget=LATENCY_BUDGET[options.task],
            latency=latency,
            time_budget=options.time_budget,
            training_threads=options.training_threads,
            seed=seed,
            out=options.out / f"{options.task}-{latency}-seed{seed}",
        )
    outcome = Outcome(hypervolume_of(run), counted.n_visits, len(counted.networks), len(run.records) - 1)
    print(f"{latency} seed {seed}: {outcome}", flush=True)
    return outcome


def hypervolume_of(run: Run) -> float:
    """Share of the box that a run's front covers."""
    sources = {record.latency.source for record in run.front.members if record.latency is not None}
    assert sources == {"measured"}, "a member of the front was not measured"
    points = [
        Scored(record.latency.ratio, run.front.accuracy_of(record))
        for record in run.front.members
        if record.latency is not None
    ]
    return share_of_box(points, run.front.accuracy_of(run.teacher), LOST_POINTS)


def report(task: str, measured: list[Outcome], predicted: list[Outcome]) -> list[str]:
    """`name=value` lines."""
    name = task.replace("-", "_")
    lines = [f"{name}_seeds={len(measured)}"]
    for mode, outcomes in (("measured", measured), ("predicted", predicted)):
        lines += [
            f"{name}_hypervolume_{mode}={sum(one.hypervolume for one in outcomes) / len(outcomes):.4f}",
            f"{name}_students_{mode}={sum(one.n_students for one in outcomes)}",
            f"{name}_networks_{mode}={sum(one.n_networks for one in outcomes)}",
            f"{name}_visits_{mode}={sum(one.n_visits for one in outcomes)}",
        ]
    ratio = sum(one.hypervolume for one in predicted) / sum(one.hypervolume for one in measured)
    return [
        *lines,
        f"{name}_hypervolume_ratio={ratio:.4f}",
        f"{name}_networks_ratio={_ratio(predicted, measured, 'n_networks'):.4f}",
        f"{name}_visits_ratio={_ratio(predicted, measured, 'n_visits'):.4f}",
    ]


def _ratio(predicted: list[Outcome], measured: list[Outcome], figure: str) -> float:
    above, below = (sum(int(getattr(one, figure)) for one in outcomes) for outcomes in (predicted, measured))
    return above / below


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=tuple(LATENCY_BUDGET), default="fashion-mnist")
    parser.add_argument("--time-budget", default="cpu:150s")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--n", type=int, default=40, help="students measured in each precision beforehand")
    parser.add_argument("--training-threads", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/predicted-search"))
    options = parser.parse_args()
    if options.n:
        command(["calibrate", options.task, "--n", str(options.n)])
    else:
        os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="no-calibration-")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    outcomes = {latency: [searched(options, latency, seed) for seed in seeds] for latency in ("measured", "predicted")}
    lines = report(options.task, outcomes["measured"], outcomes["predicted"])
    calibrated = [f"{options.task.replace('-', '_')}_calibrated_students_per_precision={options.n}"]
    print("\n".join([*calibrated, *lines]))


if __name__ == "__main__":
    main()
