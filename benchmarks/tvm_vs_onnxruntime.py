"""TVM with the project's fixed schedules against ONNX Runtime, network by network, at one thread and at two.

Both runtimes are in this process. Their samples alternate in blocks (`latency_models.timing.visit`, ONNX Runtime's
session as the anchor), so that whatever else the machine does meets both alike, and a network is visited several times,
all networks once before any a second time. Neither side's idle threads spin through the other's turn: ONNX Runtime's
stop when an inference ends, TVM's fall asleep after a third of a millisecond; the untimed inferences at the
start of a block wake them and warm the caches. At two threads both runtimes' one-thread versions are candidates too: a
second thread must not make TVM slower, which says something only where it makes ONNX Runtime faster, that is, where the
machine has a second core to give.

The schedule rule knows none of these networks (`networks.py`). Prints its figures last, one `name=value` a line.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from networks import NETWORKS, network
from numpy.typing import NDArray

from latency_models import onnxruntime_backend, tvm_backend
from latency_models.artifact import Artifact
from latency_models.host import host_processor
from latency_models.latency import Latency, Visit
from latency_models.target import Target
from latency_models.timing import Plan, Runner, latency_from_visits, visit
from nas.export import feed
from nas.trace import onnx_bytes

Feed = Mapping[str, NDArray[np.generic]]
SLOWER = 1.05
"""Ratio of two threads to one from which two count as slower: above the noise of a busy machine."""


@dataclass
class Contest:
    """A network in both runtimes at one number of threads, and the visits so far.

    Attributes:
        anchor: ONNX Runtime's session.
        candidates: TVM's code for this number of threads, and both runtimes' for one where that is another.
        compile_s: processor seconds that TVM took.
        visits: by candidate.
    """

    anchor: Runner
    candidates: dict[str, Runner]
    compile_s: float
    visits: dict[str, list[Visit]] = field(default_factory=dict)

    def sample(self, plan: Plan) -> None:
        """One more visit of every candidate."""
        for name, one in visit(self.candidates, self.anchor, plan).items():
            self.visits.setdefault(name, []).append(one)


def contest(name: str, n_threads: int, folder: Path) -> Contest:
    """Exports a network and opens it in both runtimes, TVM's outputs checked against ONNX Runtime's."""
    module, example = network(name)
    path = folder / f"{name}.onnx"
    path.write_bytes(onnx_bytes(module, example))
    artifact, data = Artifact.from_file(path, "float32"), feed(example)
    candidates: dict[str, Runner] = {}
    compile_s = 0.0
    for n in sorted({1, n_threads}):  # the last one's threads are the pool's
        target = Target("tvm-cpu", "tvm", n, processor=host_processor())
        start_s = time.process_time()
        candidates[f"tvm_{n}"] = tvm_backend.load(artifact, target, data)
        compile_s = time.process_time() - start_s
    if n_threads > 1:
        candidates["onnxruntime_1"] = onnxruntime_backend.load(artifact, Target(), data)
    return Contest(onnxruntime_backend.load(artifact, Target(n_threads=n_threads), data), candidates, compile_s)


def latencies(one: Contest, n_threads: int, generator: np.random.Generator) -> dict[str, Latency]:
    """Each candidate's latency beside ONNX Runtime's."""
    label = Target("tvm-cpu", "tvm", n_threads).label
    return {name: latency_from_visits(visits, label, {}, generator) for name, visits in one.visits.items()}


def compare(names: list[str], n_threads: int, n_visits: int, plan: Plan, folder: Path) -> dict[str, float]:
    """Prints a line for each network; the ratios TVM / ONNX Runtime."""
    contests = {name: contest(name, n_threads, folder) for name in names}
    for _ in range(n_visits):
        for one in contests.values():
            one.sample(plan)
    generator = np.random.default_rng(0)
    ratios = {}
    for name, one in contests.items():
        found = latencies(one, n_threads, generator)
        main = found[f"tvm_{n_threads}"]
        ratios[name] = main.ratio
        line = (
            f"{name:20} {n_threads} thread(s): TVM {main.median_s * 1e3:6.3f} ms, ONNX Runtime "
            f"{main.median_s / main.ratio * 1e3:6.3f} ms, ratio {main.ratio:.3f} ({main.ratio_low:.3f} to "
            f"{main.ratio_high:.3f}), prepared in {one.compile_s:.1f} CPU s"
        )
        if n_threads > 1:
            gain = main.ratio / found["tvm_1"].ratio
            line += f", {n_threads} threads / 1 thread {gain:.3f}{' SLOWER' if gain > SLOWER else ''}"
            line += f" (ONNX Runtime {1 / found['onnxruntime_1'].ratio:.3f})"
        print(line, flush=True)
    return ratios


def geomean(ratios: Mapping[str, float]) -> float:
    """Geometric mean."""
    return math.exp(sum(math.log(ratio) for ratio in ratios.values()) / len(ratios))


def main() -> None:
    """Compares at one thread, then at two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=32)
    arguments = parser.parse_args()
    plan = Plan(n_pairs=arguments.pairs, n_settle=3, max_s=0.5)
    with tempfile.TemporaryDirectory() as folder:
        one, two = (
            compare(arguments.networks, n_threads, arguments.visits, plan, Path(folder)) for n_threads in (1, 2)
        )
    print(f"geomean_1_thread={geomean(one):.4f}")
    print(f"geomean_2_threads={geomean(two):.4f}")
    print(f"worst={max(*one.values(), *two.values()):.4f}")


if __name__ == "__main__":
    main()
