"""Closed-form repair alone, no training: what narrower networks lose on the Fashion-MNIST test images.

    python benchmarks/repair_alone.py

For every block's inner channels, the residual stream's, and both, kept to a half, a quarter and an eighth; beside the
plain slice. Through the torch module, on all 10,000 test images.
"""

import time

import numpy as np
import torch

from nas.strategies.designs import nearest
from nas.tasks import TASKS
from nas.teacher import run_batched, top1_accuracy
from nas.threads import training_threads
from nas.workbench import calibration_inputs
from search_spaces.recipe import Recipe
from search_spaces.space import SearchSpace

N_CALIBRATION = 256
FRACTIONS = {"half": 0.5, "quarter": 0.25, "eighth": 0.125}


def main() -> None:
    torch.set_num_threads(training_threads(0))
    task = TASKS["fashion-mnist"]()
    test, labels = task.data.test, task.data.test.labels
    assert labels is not None

    def accuracy(module: torch.nn.Module) -> float:
        return top1_accuracy(run_batched(module, test).numpy(), labels.numpy().astype(np.int64))

    start_s = time.process_time()
    calibration = calibration_inputs(task, N_CALIBRATION, 0)
    space = SearchSpace.from_teacher(task.teacher, calibration, torch.Generator().manual_seed(0))
    profile_s = time.process_time() - start_s
    channels = [site for site in space.sites.values() if site.kind == "channels"]
    parts = {
        "inner": [site for site in channels if site.name.endswith("conv1")],
        "stream": [site for site in channels if not site.name.endswith("conv1")],
        "all": channels,
    }
    teacher = accuracy(task.teacher)
    figures = [f"teacher_accuracy={teacher:.4f}", f"profile_cpu_s={profile_s:.1f}"]
    for part, sites in parts.items():
        for word, fraction in FRACTIONS.items():
            recipe = Recipe()
            for site in sites:
                recipe = recipe.replace(site, nearest(site, fraction))
            start_s = time.process_time()
            repaired = space.build(recipe)
            build_s = time.process_time() - start_s
            sliced = accuracy(space.build(recipe, repair=False).module)
            drop = teacher - accuracy(repaired.module)
            print(f"{part:7s} {word:8s} slice loses {teacher - sliced:.4f}, repaired {drop:.4f} in {build_s:.2f} CPU s")
            figures.append(f"{part}_{word}_drop={drop:.4f}")
    print("\n".join(figures))


if __name__ == "__main__":
    main()
