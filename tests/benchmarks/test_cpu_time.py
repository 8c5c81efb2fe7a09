import subprocess
import sys
import time

import pytest
from clutter.cpu_time import Usage, parse_stat, tree_cpu_s

BURN = "import time\nwhile time.process_time() < 0.4: pass\nprint('done', flush=True)\n"


def test_a_name_with_brackets_does_not_shift_the_fields() -> None:
    # Fields 4 (parent) and 14 to 17 (ticks of itself and of waited-for children), proc_pid_stat(5).
    line = "77 (a ) b) S 12 77 77 0 -1 4194304 1 2 3 4 150 50 25 25 20 0 1 0 99"
    assert parse_stat(line) == Usage(12, pytest.approx(2.5))  # type: ignore[arg-type]


def test_a_living_child_counts_and_so_does_a_finished_one() -> None:
    before_s = tree_cpu_s()
    child = subprocess.Popen(
        [sys.executable, "-c", BURN + "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "done\n"
    living_s = tree_cpu_s() - before_s
    child.communicate("\n")
    finished_s = tree_cpu_s() - before_s
    assert living_s >= 0.35
    assert living_s - 0.05 <= finished_s <= living_s + 0.5


def test_sleeping_costs_nothing() -> None:
    before_s = tree_cpu_s()
    time.sleep(0.3)
    assert tree_cpu_s() - before_s < 0.15
