"""The gaps between two targets in words and figures that people read."""

from nas.fronts import Gaps
from nas.words import about, drop, percent

CELLS = ("chosen for", "run on", "on both", "latency: mean", "latency: worst", "lost: mean", "lost: worst", "none")
"""Headings of `cells`."""

MEANING = (
    "on both: members of both fronts. latency: as a multiple of the fastest there that is at least as accurate. "
    "lost: accuracy, against the best there that is no slower. none: members without a figure there. "
    "The teacher counts as one of those there."
)


def cells(pair: Gaps, is_share: bool) -> list[str]:
    """One row of a table of all pairs, under the headings `CELLS`; what rests on an estimate has a "~"."""
    source = _source(pair)
    n_missing = len(pair.gaps) - len(pair.slower)
    figures = ["—"] * 4
    if pair.slower:
        slower = (times(pair.mean_slower), times(max(pair.slower)))
        lost = (points(pair.mean_accuracy_lost, is_share), points(max(pair.accuracy_lost), is_share))
        figures = [about(figure, source) for figure in (*slower, *lost)]
    on_both = about(f"{pair.n_on_both} of {len(pair.gaps)}", "predicted" if pair.chosen_by_estimate else source)
    return [pair.chosen_for, pair.run_on, on_both, *figures, str(n_missing) if n_missing else ""]


def in_words(pair: Gaps, is_share: bool) -> str:
    """The pair in one or two sentences; what rests on an estimate has a "~"."""
    source = _source(pair)
    one = f"A student chosen for {pair.chosen_for} and run on {pair.run_on}"
    if source == "predicted":
        one += ", by estimate,"
    if not pair.gaps:
        return f"No student was chosen for {pair.chosen_for}."
    if not pair.slower:
        return f"No student chosen for {pair.chosen_for} can be compared on {pair.run_on}."
    if max(pair.slower) <= 1:
        return f"{one} is as good as the one chosen there."
    lost = [about(drop(value, is_share), source) for value in (pair.mean_accuracy_lost, max(pair.accuracy_lost))]
    return (
        f"{one} {_takes(pair, source)} the one chosen there with at least its accuracy. "
        f"At no more latency it loses {_mean_and_worst(lost)}."
    )


def missing(pair: Gaps, n_id: int | None = 6) -> list[str]:
    """A line for each reason why members have no figure, with the first `n_id` characters of their ids (None: all)."""
    return [
        f"{pair.chosen_for} on {pair.run_on}, no figure: {', '.join(one.id[:n_id] for one in records)} ({reason})"
        for reason, records in pair.missing.items()
    ]


def times(ratio: float) -> str:
    """A latency as a multiple of another."""
    return f"{ratio:.2f}\N{MULTIPLICATION SIGN}"


def points(value: float, is_share: bool) -> str:
    """Accuracy lost, short enough for a table."""
    return f"{100 * value:.2f} pt" if is_share else f"{value:.4g}"


def _source(pair: Gaps) -> str:
    return "predicted" if pair.estimate else "measured"


def _takes(pair: Gaps, source: str) -> str:
    values = (pair.mean_slower, max(pair.slower))
    if values[1] < 2:
        return f"is {_mean_and_worst([about(percent(value - 1, 0), source) for value in values])} slower than"
    return f"takes {_mean_and_worst([about(times(value), source) for value in values])} as long as"


def _mean_and_worst(figures: list[str]) -> str:
    mean, worst = figures
    return mean if mean == worst else f"on average {mean} and at worst {worst}"
