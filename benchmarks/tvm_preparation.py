"""CPU seconds from the file of a pruned ResNet-20 to a network that TVM can run, from nothing and with shared kernels.

Every network has its own widths, as a search would prune them. `cold`: nothing is known of any kernel, as in the first
candidate of a run. `shared`: the candidate differs from one prepared before in one block, as a neighbour in a search.
`search`: one candidate after another, each block's width drawn from nine choices, all kernels kept. All contain
reading, importing, fusing, scheduling, generating machine code and loading it; none contains importing TVM, which a
worker does once, nor checking the outputs. CPU seconds hardly depend on what else the machine does.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import tvm
from tvm import relax

from latency_models.artifact import Artifact
from latency_models.host import host_processor
from latency_models.target import Target
from latency_models.tvm_backend import emitter, lowering, machine_code
from latency_models.tvm_backend.build import link
from latency_models.tvm_backend.lowering import lower
from nas.tasks.resnet import BasicBlock, ResNet
from nas.trace import onnx_bytes

SHAPE = (1, 3, 32, 32)
STAGES = (16, 32, 64)
N_BLOCKS = 3
N_SEARCH = 40


def pruned(widths: Sequence[int], inner: Sequence[int]) -> ResNet:
    """A ResNet-20 with these stage widths, and these many inner channels in its nine blocks."""
    network = ResNet(widths, [N_BLOCKS] * len(widths), n_in=3)
    for block, n_inner in zip(network.blocks, inner, strict=True):
        assert isinstance(block, BasicBlock)
        n_in, n_out, stride = block.conv1.in_channels, block.conv2.out_channels, block.conv1.stride[0]
        block.conv1 = torch.nn.Conv2d(n_in, n_inner, 3, stride, 1, bias=False)
        block.bn1 = torch.nn.BatchNorm2d(n_inner)
        block.conv2 = torch.nn.Conv2d(n_inner, n_out, 3, 1, 1, bias=False)
    return network.eval()


def random_inner(generator: np.random.Generator) -> list[int]:
    """A quarter to all of each block's channels."""
    return [int(generator.integers(width // 4, width + 1)) for width in STAGES for _ in range(N_BLOCKS)]


def exported(network: ResNet, path: Path) -> Artifact:
    """The network's artifact."""
    path.write_bytes(onnx_bytes(network, (torch.zeros(SHAPE),)))
    return Artifact.from_file(path, "float32")


def forget() -> None:
    """Leaves nothing of earlier networks."""
    emitter.clear_expressions()
    lowering.clear_scheduled()
    machine_code.clear_compiled()


def preparation_s(artifact: Artifact, target: Target) -> dict[str, float]:
    """CPU seconds of each stage."""
    times = [time.process_time()]
    lowered = lower(artifact, target, {"input": SHAPE})
    times.append(time.process_time())
    compiled = link(lowered)
    times.append(time.process_time())
    machine = relax.VirtualMachine(compiled.module, tvm.cpu())
    machine["main"](tvm.runtime.tensor(np.zeros(SHAPE, np.float32)))
    times.append(time.process_time())
    stages = ("lower", "compile", "load")
    return {stage: after - before for stage, before, after in zip(stages, times[:-1], times[1:], strict=True)}


def chosen_inner(generator: np.random.Generator) -> list[int]:
    """One of nine shares of each block's channels, as a search offers them."""
    return [max(1, round(width * int(generator.integers(1, 10)) / 9)) for width in STAGES for _ in range(N_BLOCKS)]


def main() -> None:
    """Prints CPU seconds of every network, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator = np.random.default_rng(arguments.seed)
    target = Target(name="tvm-cpu", runtime="tvm", processor=host_processor())
    torch.manual_seed(0)
    sums: dict[str, list[float]] = {"cold": [], "shared": [], "search": []}
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        warm_up = exported(pruned(STAGES, random_inner(generator)), Path(folder) / "warm.onnx")
        preparation_s(warm_up, target)
        for index in range(arguments.networks):
            inner = random_inner(generator)
            neighbour = list(inner)
            block = int(generator.integers(len(inner)))
            neighbour[block] = max(1, inner[block] // 2)
            forget()
            for kind, one in (("cold", inner), ("shared", neighbour)):
                artifact = exported(pruned(STAGES, one), Path(folder) / f"{kind}{index}.onnx")
                stages = preparation_s(artifact, target)
                sums[kind].append(sum(stages.values()))
                parts = "  ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages.items())
                print(f"{kind:7}{sums[kind][-1]:6.2f} s  ({parts})  inner channels {one}", flush=True)
        forget()
        for index in range(N_SEARCH):
            artifact = exported(pruned(STAGES, chosen_inner(generator)), Path(folder) / f"search{index}.onnx")
            sums["search"].append(sum(preparation_s(artifact, target).values()))
        print("search " + " ".join(f"{seconds:.2f}" for seconds in sums["search"]))
    print(f"preparation_cpu_s={statistics.median(sums['cold']):.3f}")
    print(f"shared_preparation_cpu_s={statistics.median(sums['shared']):.3f}")
    print(f"search_preparation_cpu_s={statistics.median(sums['search']):.3f}")


if __name__ == "__main__":
    main()
