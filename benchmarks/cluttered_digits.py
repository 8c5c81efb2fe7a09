"""The best front per CPU second: this project's search against the union of what its peers found, on cluttered digits.

    python benchmarks/cluttered_digits.py [--cpu-seconds N] [--seeds K] [--peers] [--report | --remeasure]

Runs the search with each seed (a finished one is kept), then times all seeds' fronts and the peers' files in the same
passes, scores all on the 4,000 test images, and prints last, one `name=value` a line, the hypervolume of the median
seed and that of the union of all peers. Several invocations with other budgets add up to one report in
results/benchmarks/cluttered_digits. Run it on an idle machine.
"""

import argparse
import statistics

from clutter import task as clutter_task
from clutter.campaign import Campaign, measure, run_all
from clutter.command_line import medians, parser_of, passes_of, peers_lines, print_files
from clutter.hypervolume import BOXES_POINTS, share_of_box
from clutter.report import write_report
from clutter.results import ROOT, Entry, Timing, load_entries
from clutter.scores import scored
from clutter.union import union_points


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--peers", action="store_true", help="run Torch-Pruning and scratch students as well")
    options = parser.parse_args()
    results = options.results or ROOT / "results" / "benchmarks" / "cluttered_digits"
    campaign = Campaign(
        clutter_task.NAME,
        clutter_task.task,
        results,
        options.runs,
        clutter_task.DATA_DIR / "teacher.onnx",
        tuple(union_points()),
    )
    if options.remeasure:
        budgets_s = sorted({entry.budget_s for entry in load_entries(campaign.json_folder)})
        measure(campaign, budgets_s, passes_of(options))
    if options.report or options.remeasure:
        print(f"report: {write_report(campaign)}")
    else:
        _run(campaign, options)


def _run(campaign: Campaign, options: argparse.Namespace) -> None:
    budget_s: float = options.cpu_seconds
    n_peer_seeds = options.peer_seeds if options.peers else 0
    ours = run_all(campaign, budget_s, options.seeds, n_peer_seeds, options.fresh, options.time_budget)
    timing = measure(campaign, [budget_s], passes_of(options))
    print_files(campaign, budget_s, timing)
    print(f"report: {write_report(campaign)}")
    print("\n".join([*peers_lines(campaign, budget_s, timing), *_last_lines(campaign, ours, timing)]))


def _last_lines(campaign: Campaign, ours: list[Entry], timing: Timing) -> list[str]:
    union = scored(campaign.union, timing)
    return [
        *medians(ours, timing, "hypervolume"),
        *(f"union_{lost}pt={share_of_box(union, timing.teacher_accuracy, lost):.4f}" for lost in BOXES_POINTS),
        f"cpu_seconds={statistics.median(entry.cpu_s for entry in ours):.1f}",
    ]


if __name__ == "__main__":
    main()
