"""Runs of all contenders on one task, and the re-timing of what they offer. What is finished is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from clutter.int8 import export
from clutter.ours import commit, in_own_process, search_once
from clutter.peers import PEERS, run_peer
from clutter.results import (
    OURS,
    Entry,
    Point,
    Timing,
    entry_path,
    is_whole,
    load_entries,
    load_entry,
    save_entry,
    save_timing,
)
from clutter.retime import Passes, retime
from nas.teacher import Task


@dataclass(frozen=True)
class Campaign:
    """One task, and where its runs and results lie.

    Attributes:
        name: of the task.
        load: gives teacher and data; known by name, as other processes call it.
        results: folder of the report; JSON below it.
        runs: folder of the runs' own folders.
        teacher_file: the teacher's ONNX file, or None: then it is exported into `runs`.
        union: files that others found with any budget.
    """

    name: str
    load: Callable[[], Task]
    results: Path
    runs: Path
    teacher_file: Path | None = None
    union: tuple[Point, ...] = ()

    @property
    def json_folder(self) -> Path:
        """Where entries and timings lie."""
        return self.results / "json"

    def anchor(self) -> Path:
        """The teacher's ONNX file, exported where there is none yet."""
        if self.teacher_file is not None:
            return self.teacher_file
        path = self.runs / f"{self.name}-teacher.onnx"
        if not path.is_file():
            task = self.load()
            path.parent.mkdir(parents=True, exist_ok=True)
            export(task.teacher, task.data.example, path)
        return path


def finished_or_run(
    campaign: Campaign, contender: str, budget_s: float, seed: int, fresh: bool = False, time_budget: str = ""
) -> Entry:
    """The entry of this contender, budget and seed where it is finished and its files are whole, or a new one.

    Args:
        campaign: the task.
        contender: `understudy` or a peer.
        budget_s: CPU seconds.
        seed: of the run.
        fresh: run it in any case.
        time_budget: what this project's search is given instead of `cpu:<budget_s>s`.
    """
    path = entry_path(campaign.json_folder, contender, budget_s, seed)
    if path.is_file() and not fresh:
        entry = load_entry(path)
        if all(map(is_whole, entry.points)):
            made_by = f", commit {entry.notes['commit']} (now {commit()})" if contender == OURS else ""
            print(f"{contender} at {budget_s:g} CPU s, seed {seed}: kept{made_by}", flush=True)
            return entry
    if contender == OURS:
        folder = campaign.runs / f"{campaign.name}-{budget_s:g}s-seed{seed}"
        work = partial(search_once, campaign.load, budget_s, seed, folder, time_budget)
    else:
        folder = campaign.runs / f"{campaign.name}-{contender}-{budget_s:g}s-seed{seed}"
        work = partial(run_peer, contender, campaign.load, campaign.anchor(), budget_s, seed, folder, campaign.runs)
    entry = in_own_process(work)
    save_entry(entry, campaign.json_folder)
    print(
        f"{contender} at {budget_s:g} CPU s, seed {seed}: {entry.cpu_s:.1f} CPU s, {entry.wall_s:.1f} s by the clock, "
        f"{len(entry.points)} files",
        flush=True,
    )
    return entry


def entries_at(campaign: Campaign, budgets_s: Sequence[float]) -> list[Entry]:
    """All entries of these budgets whose files are whole; the others are named and left out."""
    found = []
    for entry in load_entries(campaign.json_folder):
        if entry.budget_s not in budgets_s:
            continue
        if all(map(is_whole, entry.points)):
            found.append(entry)
        else:
            print(f"left out: files of {entry.contender} at {entry.budget_s:g} CPU s, seed {entry.seed}, are gone")
    return found


def measure(campaign: Campaign, budgets_s: Sequence[float], passes: Passes) -> Timing:
    """Times all contenders' files of these budgets and the union's in the same passes, and writes that down.

    Args:
        campaign: the task.
        budgets_s: of the entries; the timing is saved for each.
        passes: how many, how far apart.
    """
    entries = entries_at(campaign, budgets_s)
    points = [*campaign.union, *(point for entry in entries for point in entry.points)]
    timing = retime(points, campaign.anchor(), campaign.load().data.test, passes)
    for budget_s in budgets_s:
        save_timing(timing, campaign.json_folder, budget_s)
    return timing


def run_all(
    campaign: Campaign, budget_s: float, n_seeds: int, n_peer_seeds: int, fresh: bool = False, time_budget: str = ""
) -> list[Entry]:
    """This project with seeds 0, 1, ..., whose entries are returned, then each peer with as many seeds as asked for."""
    ours = [finished_or_run(campaign, OURS, budget_s, seed, fresh, time_budget) for seed in range(n_seeds)]
    for name in PEERS:
        for seed in range(n_peer_seeds):
            finished_or_run(campaign, name, budget_s, seed, fresh)
    return ours
