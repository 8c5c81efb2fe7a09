"""Times a network against itself: how often the 95 % interval holds the true ratio, 1, and how far off the ratio is.

Goes the way of a search: a worker process on the target holds the network as the anchor, and times the same file as a
candidate that is opened anew each time. The worker is a fresh one every few repetitions, so that where buffers happen
to lie counts too. The second half runs beside one spinning process for each core. Prints its figures last, one
`name=value` a line.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from latency_models.artifact import Artifact
from latency_models.latency import Latency
from latency_models.open import open_model
from latency_models.profiles import resolve
from latency_models.target import Target
from latency_models.timing import Plan
from nas.tasks.fashion_mnist import teacher_module

SPIN = "while True: pass"
N_EACH_WORKER = 10


def exported_network(folder: Path, seed: int) -> Artifact:
    """The Fashion-MNIST ResNet-14 with random weights."""
    torch.manual_seed(seed)
    path = folder / "network.onnx"
    torch.onnx.export(
        teacher_module().eval(), (torch.zeros(1, 1, 28, 28),), path, dynamo=False, input_names=["x"], output_names=["y"]
    )
    return Artifact.from_file(path, "float32")


def null_latencies(
    artifact: Artifact, target: Target, plan: Plan, n_visits: int, n: int, generator: np.random.Generator
) -> list[Latency]:
    """Latencies of the network against itself, each from visits with newly opened candidates."""
    found: list[Latency] = []
    while len(found) < n:
        feed = {"x": generator.standard_normal((1, 1, 28, 28), dtype=np.float32)}
        with closing(open_model(target, artifact, feed, int(generator.integers(2**31)), plan)) as model:
            for _ in range(min(N_EACH_WORKER, n - len(found))):
                latency = model.latency(artifact)
                for _ in range(n_visits - 1):
                    latency = model.latency(artifact, latency.visits)
                found.append(latency)
    return found


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
    parser.add_argument("--target", default="cpu", help="see `nas targets`")
    parser.add_argument("--n-threads", type=int, help="of one inference (default: the target's own)")
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--visits", type=int, default=1, help="visits behind each latency")
    parser.add_argument("--pairs", type=int, default=Plan().n_pairs)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator = np.random.default_rng(arguments.seed)
    plan = Plan(n_pairs=arguments.pairs)
    with tempfile.TemporaryDirectory() as folder:
        artifact = exported_network(Path(folder), arguments.seed)
        target = resolve(arguments.target, arguments.n_threads)
        how = (artifact, target, plan, arguments.visits, arguments.repetitions, generator)
        idle = null_latencies(*how)
        spinners = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(os.cpu_count() or 1)]
        try:
            busy = null_latencies(*how)
        finally:
            for spinner in spinners:
                spinner.kill()
                spinner.wait()
    lines = [*figures(idle, "idle"), *figures(busy, "busy")]
    print("\n".join(sorted(lines, key=lambda line: "error" in line)))


if __name__ == "__main__":
    main()
