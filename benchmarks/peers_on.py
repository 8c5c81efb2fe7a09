"""This project's search beside Torch-Pruning and small students from scratch, at equal CPU seconds, on built-in tasks.

    python benchmarks/peers_on.py {fashion-mnist,digits} [--cpu-seconds N] [--seeds K] [--report | --remeasure]

The peers distil from the teacher and end in ONNX Runtime's int8, as on cluttered digits (`clutter/peers.py`). All files
are timed in the same passes and scored on the test images. Last lines, one `name=value` each: the hypervolume of each
peer and of this project's median seed. Run it on an idle machine.
"""

import statistics
from functools import partial

from clutter.campaign import Campaign, measure, run_all
from clutter.command_line import medians, parser_of, passes_of, peers_lines, print_files
from clutter.report import write_report
from clutter.results import ROOT, load_entries

from nas.tasks import TASKS
from nas.teacher import Task


def load(name: str) -> Task:
    """A built-in task."""
    task: Task = TASKS[name]()
    return task


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("task", choices=sorted(TASKS))
    options = parser.parse_args()
    results = options.results or ROOT / "results" / "benchmarks" / options.task.replace("-", "_")
    campaign = Campaign(options.task, partial(load, options.task), results, options.runs)
    if options.report or options.remeasure:
        if options.remeasure:
            budgets_s = sorted({entry.budget_s for entry in load_entries(campaign.json_folder)})
            measure(campaign, budgets_s, passes_of(options))
        print(f"report: {write_report(campaign)}")
        return
    budget_s: float = options.cpu_seconds
    ours = run_all(campaign, budget_s, options.seeds, options.peer_seeds, options.fresh, options.time_budget)
    timing = measure(campaign, [budget_s], passes_of(options))
    print_files(campaign, budget_s, timing)
    print(f"report: {write_report(campaign)}")
    lines = [*peers_lines(campaign, budget_s, timing), *medians(ours, timing, "hypervolume")]
    print("\n".join([*lines, f"cpu_seconds={statistics.median(entry.cpu_s for entry in ours):.1f}"]))


if __name__ == "__main__":
    main()
