"""Times a network against itself: how often the 95 % interval holds the true ratio, 1, and how far off the ratio is.

Every repetition opens the file twice anew, so that where the sessions' buffers happen to lie counts too. The second
half runs beside one spinning process for each core. Prints its figures last, one `name=value` a line.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from latency_models.artifact import Artifact
from latency_models.latency import Latency
from latency_models.onnxruntime_backend import environment, load
from latency_models.target import Target
from latency_models.timing import Plan, latency_from_visits, visit
from nas.tasks.fashion_mnist import teacher_module

SPIN = "while True: pass"


def exported_network(folder: Path, seed: int) -> Artifact:
    """The Fashion-MNIST ResNet-14 with random weights."""
    torch.manual_seed(seed)
    path = folder / "network.onnx"
    torch.onnx.export(
        teacher_module().eval(), (torch.zeros(1, 1, 28, 28),), path, dynamo=False, input_names=["x"], output_names=["y"]
    )
    return Artifact.from_file(path, "float32")


def null_latency(artifact: Artifact, plan: Plan, n_visits: int, generator: np.random.Generator) -> Latency:
    """One latency of the network against itself, from visits with newly opened sessions."""
    target = Target()
    feed = {"x": generator.standard_normal((1, 1, 28, 28), dtype=np.float32)}
    visits = []
    for _ in range(n_visits):
        candidate, anchor = load(artifact, target, feed), load(artifact, target, feed)
        visits.append(visit({"itself": candidate}, anchor, plan)["itself"])
    return latency_from_visits(visits, target.label, environment(target), generator)


def figures(latencies: list[Latency], name: str) -> list[str]:
    """Coverage of the intervals, and median of the errors, as lines to print."""
    coverage = np.mean([one.ratio_low <= 1 <= one.ratio_high for one in latencies])
    errors = [abs(one.ratio - 1) for one in latencies]
    widths = [(one.ratio_high - one.ratio_low) / 2 for one in latencies]
    print(f"{name}: worst error {max(errors):.2%}, median half width {np.median(widths):.2%}")
    return [f"{name}_coverage={coverage:.3f}", f"{name}_median_error={np.median(errors):.5f}"]


def main() -> None:
    """Runs the experiment idle, then busy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--visits", type=int, default=1, help="visits behind each latency")
    parser.add_argument("--pairs", type=int, default=Plan().n_pairs)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator = np.random.default_rng(arguments.seed)
    plan = Plan(n_pairs=arguments.pairs)
    with tempfile.TemporaryDirectory() as folder:
        artifact = exported_network(Path(folder), arguments.seed)
        repeat = range(arguments.repetitions)
        idle = [null_latency(artifact, plan, arguments.visits, generator) for _ in repeat]
        spinners = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(os.cpu_count() or 1)]
        try:
            busy = [null_latency(artifact, plan, arguments.visits, generator) for _ in repeat]
        finally:
            for spinner in spinners:
                spinner.kill()
                spinner.wait()
    lines = [*figures(idle, "idle"), *figures(busy, "busy")]
    print("\n".join(sorted(lines, key=lambda line: "error" in line)))


if __name__ == "__main__":
    main()
