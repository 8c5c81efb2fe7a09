"""The main job on the built-in tasks, through the public Python interface with default settings.

    python benchmarks/main_job.py [digits] [fashion-mnist] [--out FOLDER]

Searches digits for 5 minutes and Fashion-MNIST for 30 and prints, as ratios to the teacher in the same run, what the
issue asks for: the smallest accuracy drop on the test set among front members that meet each latency, by the upper
end of the interval. Front members are chosen on validation data. Run it on an idle machine.
"""

import argparse
import time
from pathlib import Path

import nas

JOBS = {
    "digits": ("25%", "5m", (0.25,)),
    "fashion-mnist": ("30%", "30m", (0.30, 0.12)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=list(JOBS))
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--time-budget", help="instead of each task's own")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    figures = []
    for task in options.tasks:
        latency_budget, time_budget, ratios = JOBS[task]
        budget = options.time_budget or time_budget
        folder = options.out / f"main-job-{task}-{budget}-seed{options.seed}"
        start_s = time.perf_counter()
        run = nas.search(task, latency_budget=latency_budget, time_budget=budget, out=folder, seed=options.seed)
        wall_s = time.perf_counter() - start_s
        print(
            run.front.frame()[["id", "accuracy", "latency_ratio", "ratio_high", "precision", "size_bytes"]].to_string()
        )
        name = task.replace("-", "_")
        figures.append(f"{name}_teacher_accuracy={run.front.accuracy_of(run.teacher):.4f}")
        for ratio in ratios:
            try:
                best = run.front.pick("accurate", latency_budget_ratio=ratio)
                figures.append(f"{name}_drop_at_{ratio * 100:.0f}_percent={run.front.drop_of(best):.4f}")
            except nas.UserError as error:
                print(error)
                figures.append(f"{name}_drop_at_{ratio * 100:.0f}_percent=nan")
        figures.append(f"{name}_n_candidates={len(run.records) - 1}")
        figures.append(f"{name}_wall_s={wall_s:.0f}")
        figures.append(f"{name}_time_used={wall_s / run.settings.duration.seconds:.3f}")
    print("\n".join(figures))


if __name__ == "__main__":
    main()
