"""CPU seconds of this process and all processes below it, read from /proc, independently of the product's own count."""

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """One process: its parent, and the CPU seconds of itself and of the children that it has waited for."""

    parent: int
    cpu_s: float


def tree_cpu_s(root: int | None = None, proc: Path = Path("/proc")) -> float:
    """User and system seconds of a process, of its finished children, and of all living processes below it.

    Resolution: one tick, 10 ms, for each process.

    Args:
        root: process id; by default this process.
        proc: where the kernel shows its processes.
    """
    usages = {}
    for folder in proc.iterdir():
        if folder.name.isdigit():
            try:
                usages[int(folder.name)] = parse_stat((folder / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended since it was listed: its parent has its seconds
    return _below(os.getpid() if root is None else root, usages)


def parse_stat(line: str) -> Usage:
    """The line of /proc/<pid>/stat (proc_pid_stat(5)); the name in brackets may hold anything, brackets too."""
    fields = line.rpartition(")")[2].split()
    ticks = sum(int(fields[index]) for index in (11, 12, 13, 14))  # utime, stime, cutime, cstime
    return Usage(int(fields[1]), ticks / os.sysconf("SC_CLK_TCK"))


def _below(root: int, usages: Mapping[int, Usage]) -> float:
    children = defaultdict(list)
    for pid, usage in usages.items():
        children[usage.parent].append(pid)
    total_s, waiting = 0.0, [root]
    while waiting:
        pid = waiting.pop()
        total_s += usages[pid].cpu_s
        waiting += children[pid]
    return total_s
