"""What `nas calibrate` shows in a terminal, within 100 characters."""

import math
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text

from latency_models.predicted import LEAST

if TYPE_CHECKING:
    from nas.calibrate import Calibration

WIDTH = 100
NOTHING = "—"
COLUMNS = ("measured", "new", "median error", "within 10 %", "in 90 % interval")


def shown(calibration: "Calibration") -> RenderableType:
    """A line for each target and precision, where the files are, and what to do next."""
    view = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    view.add_column("target", no_wrap=True)
    view.add_column("precision", no_wrap=True)
    for name in COLUMNS:
        view.add_column(name, justify="right", no_wrap=True)
    for one in calibration.learnt:
        figures = (_percent(one.error, 1), _percent(one.within_10, 0), _percent(one.covered, 0))
        view.add_row(one.target, one.precision, str(one.n_measured), str(one.n_new), *figures)
    return Constrain(Group(view, Text(), Text("\n".join(_lines(calibration)))), WIDTH)


def _lines(calibration: "Calibration") -> list[str]:
    lines = ["Errors are of students that were left out, each predicted from the others."]
    lines += [
        f"Kept in {folder}/" for folder in dict.fromkeys(one.path.parent for one in calibration.learnt if one.path)
    ]
    lines += calibration.notes
    short = [one for one in calibration.learnt if one.path is None]
    if short:
        few = ", ".join(f"{one.precision} on {one.target}" for one in short)
        lines.append(f"Nothing is predicted yet for {few}: that takes at least {LEAST} measured students.")
    if calibration.timed_out:
        lines.append("Time ran out: the same command goes on with the students that are left.")
    if len(short) < len(calibration.learnt):
        settings = calibration.settings
        targets = "".join(f" --target {spec}" for spec in settings.target)
        lines.append(
            f"Next: nas search {settings.task_or_teacher}{targets} --latency predicted --latency-budget 40% ..."
        )
    return lines


def _percent(share: float, n_digits: int) -> str:
    return NOTHING if math.isnan(share) else f"{100 * share:.{n_digits}f} %"
