"""What users would otherwise do at the same CPU seconds: Torch-Pruning, or small networks from scratch.

Both distil from the teacher, and both end in ONNX Runtime's int8. Generic over the task.
"""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import nn

from clutter.cpu_time import tree_cpu_s
from clutter.int8 import export, quantize
from clutter.results import Entry, Point, point_of
from clutter.retime import ratio
from clutter.training import Material, cached_material, train
from latency_models.timing import Plan
from nas.tasks.resnet import ResNet
from nas.teacher import Task

TARGETS = {2: (8, 0.7), 4: (8, 0.7), 8: (4, 0.87)}
"""Speed-up wanted: what widths are rounded to, and the largest pruning ratio tried. Where rounding would leave no
channel, Torch-Pruning silently leaves the whole group as it is."""
N_HALVINGS = 5
"""Finer than what widths are rounded to."""
PRUNED_RATE, SCRATCH_RATE = 0.05, 0.1
FINISH_S = 2.0
"""CPU seconds kept back for exporting and quantising the first network; then the most that one has taken."""
BISECTION = Plan(n_pairs=40, n_block=10)

WIDE = {"w20x2": (20, 2), "w24x1": (24, 1), "w12x1": (12, 1)}
NARROW = {"w16x1": (16, 1), "w8x1": (8, 1), "w5x1": (5, 1)}
"""Scratch students: channels of the first stage, which double at each later one, and blocks a stage."""


@dataclass(frozen=True, eq=False)
class Attempt:
    """One run of a peer.

    Attributes:
        task: teacher and data.
        on: what it trains on.
        teacher_file: the teacher's ONNX file, which speed-ups are measured against.
        start_s: reading of the process clock when it began.
        budget_s: CPU seconds.
        seed: of everything random.
        folder: where its files go.
        finished_in_s: CPU seconds that the files of each network so far took.
    """

    task: Task
    on: Material
    teacher_file: Path
    start_s: float
    budget_s: float
    seed: int
    folder: Path
    finished_in_s: list[float] = field(default_factory=list)

    def end_s(self, index: int, n: int) -> float:
        """Reading of the process clock at which the training of the index-th of n networks ends: equal parts."""
        return self.start_s + self.budget_s * (index + 1) / n - max(self.finished_in_s, default=FINISH_S)

    def files(self, name: str, module: nn.Module) -> list[Point]:
        """The network as it is and in int8."""
        start_s = time.process_time()
        float32 = export(module, self.task.data.example, self.folder / f"{name}.onnx")
        int8 = quantize(float32, self.folder / f"{name}-int8.onnx", (self.on.images,))
        self.finished_in_s.append(time.process_time() - start_s)
        return [point_of(name, float32), point_of(f"{name}+int8", int8)]


def torch_pruning(attempt: Attempt) -> tuple[list[Point], dict[str, object]]:
    """Uniform magnitude pruning to 2, 4 and 8 times the measured speed, then distillation, then int8.

    Torch-Pruning knows no latency, so its pruning ratio is found by halving on the measured one.
    """
    points, notes = list[Point](), dict[str, object]()

    @cache
    def latency_ratio(pruning_ratio: float, multiple: int) -> float:
        module = pruned(attempt.task, pruning_ratio, multiple).eval()
        file = export(module, attempt.task.data.example, attempt.folder / "trial.onnx")
        return ratio(file, attempt.teacher_file, attempt.task.data.example[0].numpy(), BISECTION)[0]

    for index, (speedup, (multiple, most)) in enumerate(TARGETS.items()):
        low, high = 0.05, most
        for _ in range(N_HALVINGS):
            middle = (low + high) / 2
            if latency_ratio(middle, multiple) > 1 / speedup:
                low = middle
            else:
                high = middle
        module = pruned(attempt.task, high, multiple)
        epochs = train(module, attempt.on, attempt.end_s(index, len(TARGETS)), PRUNED_RATE, attempt.seed)
        points += attempt.files(f"{speedup}x", module)
        notes[f"{speedup}x"] = {"pruning_ratio": high, "epochs": epochs}
    return points, notes


def pruned(task: Task, pruning_ratio: float, multiple: int) -> nn.Module:
    """A copy of the teacher without this share of the channels in every layer but the last.

    Raises:
        RuntimeError: nothing was cut.
    """
    import torch_pruning as tp  # in the extra [bench]

    module = copy.deepcopy(task.teacher).requires_grad_(True)  # a frozen network would be left as it is
    output = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    tp.pruner.MagnitudePruner(
        module,
        task.data.example[0],
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=pruning_ratio,
        ignored_layers=[output],
        round_to=multiple,
    ).step()
    if n_parameters(module) == n_parameters(task.teacher):
        raise RuntimeError(f"Torch-Pruning cut nothing at a pruning ratio of {pruning_ratio}")
    return module


def n_parameters(module: nn.Module) -> int:
    """Weights and biases."""
    return sum(tensor.numel() for tensor in module.parameters())


def scratch(attempt: Attempt, networks: Mapping[str, tuple[int, int]]) -> tuple[list[Point], dict[str, object]]:
    """Small ResNets of the teacher's kind, from random weights: distillation, then int8."""
    n_stages = 1 + sum(stride_of(block) == 2 for block in attempt.task.teacher.get_submodule("blocks").children())
    points, notes = list[Point](), dict[str, object]()
    for index, (name, (width, n_blocks)) in enumerate(networks.items()):
        torch.manual_seed(attempt.seed)
        module = ResNet([width * 2**stage for stage in range(n_stages)], [n_blocks] * n_stages)
        epochs = train(module, attempt.on, attempt.end_s(index, len(networks)), SCRATCH_RATE, attempt.seed)
        points += attempt.files(name, module)
        notes[name] = {"epochs": epochs}
    return points, notes


def stride_of(block: nn.Module) -> int:
    """Of a residual block's first convolution."""
    convolution = block.get_submodule("conv1")
    assert isinstance(convolution, nn.Conv2d)
    return convolution.stride[0]


Peer = Callable[[Attempt], tuple[list[Point], dict[str, object]]]
PEERS: dict[str, Peer] = {
    "torch-pruning": torch_pruning,
    "scratch-wide": lambda attempt: scratch(attempt, WIDE),
    "scratch-narrow": lambda attempt: scratch(attempt, NARROW),
}


def run_peer(
    name: str, load: Callable[[], Task], teacher_file: Path, budget_s: float, seed: int, folder: Path, cache: Path
) -> Entry:
    """One run of a peer; what it cost is counted as for this project, but for the teacher's logits, which are free.

    Args:
        name: a key of `PEERS`.
        load: gives teacher and data.
        teacher_file: the teacher's ONNX file.
        budget_s: CPU seconds.
        seed: of everything random.
        folder: where its files go.
        cache: folder that the teacher's logits are kept in.
    """
    torch.set_num_threads(1)
    task = load()
    on = cached_material(task, cache)
    folder.mkdir(parents=True, exist_ok=True)
    before_s, start_s = tree_cpu_s(), time.monotonic()
    attempt = Attempt(task, on, teacher_file, time.process_time(), budget_s, seed, folder)
    points, notes = PEERS[name](attempt)
    cpu_s, wall_s = tree_cpu_s() - before_s, time.monotonic() - start_s
    return Entry(name, task.name, budget_s, seed, cpu_s, wall_s, tuple(points), notes)
