"""The fronts of all targets for a terminal, and below them how far the students of one are from another."""

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nas.front import Front, table
from nas.fronts import gaps_between, members_of
from nas.gap_words import CELLS, MEANING, cells, missing
from nas.words import Sites


def tables(
    fronts: Mapping[str, Front], budget_ratios: Mapping[str, float] | None = None, sites: Sites | None = None
) -> Group:
    """A table for each target, and how far students chosen for one are from the front of another.

    With one target it shows exactly what `nas.front.table` does.

    Args:
        fronts: by the labels of their targets.
        budget_ratios: latency budgets as shares of the teacher's latency, by target.
        sites: the teacher's sites, for fuller words.
    """
    ratios = budget_ratios or {}
    parts: list[RenderableType] = []
    for label, front in fronts.items():
        view = table(front, ratios.get(label), sites)
        if len(fronts) > 1:
            parts.append(Text(front.heading, style="bold underline"))
        parts += [view, Text()]
    if len(fronts) > 1 and members_of(fronts):
        parts += [gaps_table(fronts), Text()]
    return Group(*parts[:-1])


def gaps_table(fronts: Mapping[str, Front]) -> Group:
    """For each pair of targets, how far the students chosen for one are from the front of the other."""
    pairs, is_share = gaps_between(fronts), next(iter(fronts.values())).is_share
    view = Table(header_style="bold", box=None, pad_edge=False)
    for column, name in enumerate(CELLS):
        view.add_column(name.replace(": ", ":\n"), justify="left" if column < 2 else "right", overflow="fold")
    for pair in pairs:
        view.add_row(*(Text(cell) for cell in cells(pair, is_share)))
    notes = [f"~ on {label}: {note}" for label, note in {p.run_on: p.estimate for p in pairs if p.estimate}.items()]
    heading = Text("Chosen for one target, run on another", style="bold underline")
    return Group(
        heading, view, *(Text(line) for line in (*notes, MEANING, *(line for pair in pairs for line in missing(pair))))
    )
