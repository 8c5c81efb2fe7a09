"""Options that the scripts share, and the last lines they print."""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from clutter.campaign import Campaign, entries_at
from clutter.hypervolume import BOXES_POINTS, share_of_box
from clutter.results import OURS, ROOT, Entry, Timing
from clutter.retime import Passes
from clutter.scores import scored


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every script has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-seconds", type=float, default=180.0, help="budget of each run (180)")
    parser.add_argument("--seeds", type=int, default=3, help="how many runs, seeds 0, 1, ... (3)")
    parser.add_argument("--peer-seeds", type=int, default=1, help="the same for every peer that is run (1)")
    parser.add_argument("--fresh", action="store_true", help="run again what is finished")
    parser.add_argument("--passes", type=int, default=5, help="of the re-timing (5)")
    parser.add_argument("--pass-every", type=float, default=60.0, help="seconds from pass to pass, at the least (60)")
    parser.add_argument("--time-budget", default="", help="given to the search instead of cpu:<N>s, e.g. 60s")
    parser.add_argument("--report", action="store_true", help="only make the report anew from the JSON results")
    parser.add_argument(
        "--remeasure", action="store_true", help="run nothing; time the files of all budgets in the same passes"
    )
    parser.add_argument("--results", type=Path, help="folder of the report and its JSON")
    parser.add_argument("--runs", type=Path, default=ROOT / "results", help="folder of the runs")
    return parser


def passes_of(options: argparse.Namespace) -> Passes:
    """The passes asked for."""
    return Passes(options.passes, options.pass_every)


def print_files(campaign: Campaign, budget_s: float, timing: Timing) -> None:
    """Every file with its accuracy and ratio, and the score of every run."""
    entries = entries_at(campaign, [budget_s])
    shown = [("union", point) for point in campaign.union]
    shown += [(f"{entry.contender}, seed {entry.seed}", point) for entry in entries for point in entry.points]
    print(f"\n{'contender':24s} {'file':30s} {'accuracy':>8s} {'ratio':>7s}  passes")
    for who, point in shown:
        found = timing.files[point.digest]
        spread = f"{min(found.ratios):.4f} to {max(found.ratios):.4f}"
        ratio = statistics.median(found.ratios)
        print(f"{who:24s} {point.name:30s} {100 * found.accuracy:8.2f} {ratio:7.4f}  {spread}")
    print(f"\n{'contender':24s} {'CPU s':>7s}" + "".join(f"  HV at {lost} points" for lost in BOXES_POINTS))
    for entry in entries:
        row = "".join(f"  {share_of(entry, timing, lost):14.4f}" for lost in BOXES_POINTS)
        print(f"{f'{entry.contender}, seed {entry.seed}':24s} {entry.cpu_s:7.1f}{row}")


def share_of(entry: Entry, timing: Timing, lost_points: float) -> float:
    """The hypervolume of an entry's files."""
    return share_of_box(scored(entry.points, timing), timing.teacher_accuracy, lost_points)


def medians(entries: Sequence[Entry], timing: Timing, prefix: str) -> list[str]:
    """Lines `<prefix>_<N>pt=`: the median hypervolume over these runs, at every box."""
    return [
        f"{prefix}_{lost}pt={statistics.median(share_of(entry, timing, lost) for entry in entries):.4f}"
        for lost in BOXES_POINTS
    ]


def peers_lines(campaign: Campaign, budget_s: float, timing: Timing) -> list[str]:
    """The median hypervolume of every peer that was run at this budget, and the CPU seconds of its runs."""
    entries = [entry for entry in entries_at(campaign, [budget_s]) if entry.contender != OURS]
    lines = []
    for name in sorted({entry.contender for entry in entries}):
        of_peer = [entry for entry in entries if entry.contender == name]
        word = name.replace("-", "_")
        lines += medians(of_peer, timing, word)
        lines.append(f"{word}_cpu_seconds={statistics.median(entry.cpu_s for entry in of_peer):.1f}")
    return lines
