"""The page's part on several targets: every student on each of them, and the gaps between their fronts."""

from collections.abc import Mapping
from html import escape

from nas.front import Front
from nas.fronts import Gap, Gaps, gaps_between, members_of
from nas.gap_words import CELLS, MEANING, cells, in_words, missing, points, times
from nas.html_table import figures, grid, student
from nas.latencies import everywhere
from nas.record import Record
from nas.words import Sites, about, percent, score, summary
from nas.words import in_words as recipe_in_words

ON_FRONT = "\N{BLACK STAR}"


def estimates(fronts: Mapping[str, Front]) -> str:
    """One line for each target whose latencies are estimates: how far these were off."""
    lines = [f"~ on {escape(label)}: {escape(front.estimate)}." for label, front in fronts.items() if front.estimate]
    return f'<p class="estimate">{"<br>".join(lines)}</p>' if lines else ""


def students(fronts: Mapping[str, Front], sites: Sites | None, cards: Mapping[str, str]) -> str:
    """Every student that is on a front, with its card and its latency on each target.

    Args:
        fronts: by the labels of their targets.
        sites: the teacher's sites, for fuller words.
        cards: id of a member to the path of its model card, relative to the page.
    """
    first = next(iter(fronts.values()))
    names = ["student", first.metric, *(front.heading for front in fronts.values()), "size", "what was changed"]
    rows = [_student(record, label, fronts, sites, cards) for label, record in members_of(fronts)]
    note = f"Latency as a share of the teacher's on the same target; {ON_FRONT} where the student is on the front."
    return f"{estimates(fronts)}{grid(names, 1, rows, 'wrap')}<p>{note}</p>"


def gaps(fronts: Mapping[str, Front], cards: Mapping[str, str]) -> str:
    """How far the students chosen for one target are from the front of another: the pairs, then each student."""
    pairs, is_share = gaps_between(fronts), next(iter(fronts.values())).is_share
    items = ("<br>".join(escape(line) for line in (in_words(pair, is_share), *missing(pair, None))) for pair in pairs)
    sentences = "".join(f"<li>{item}</li>" for item in items)
    rows = [_pair(pair, is_share) for pair in pairs]
    details = "".join(_details(pair, is_share, cards) for pair in pairs if pair.gaps)
    return f"<ul>{sentences}</ul>{estimates(fronts)}{grid(CELLS, 2, rows)}<p>{MEANING}</p>{details}"


def _student(
    record: Record, chosen_for: str, fronts: Mapping[str, Front], sites: Sites | None, cards: Mapping[str, str]
) -> str:
    latencies = everywhere(record)
    shares = []
    for label, front in fronts.items():
        if label not in latencies:
            reason = record.refusals.get(label, "it was not timed there")
            shares.append(f'<span class="soft" title="{escape(reason)}">none</span>')
            continue
        star = f" {ON_FRONT}" if any(member.id == record.id for member in front.members) else ""
        shares.append(about(percent(latencies[label].ratio, 1), latencies[label].source) + star)
    front = fronts[chosen_for]
    values = [score(front.accuracy_of(record), front.is_share), *shares, f"{record.size_bytes / 1e6:.2f} MB"]
    words = f"<summary>{escape(summary(record.recipe, sites))}</summary>{escape(recipe_in_words(record.recipe, sites))}"
    name = student(record.id, cards.get(record.id))
    return f"<tr><td>{name}</td>{figures(values)}<td><details>{words}</details></td></tr>"


def _pair(pair: Gaps, is_share: bool) -> str:
    texts = [escape(cell) for cell in cells(pair, is_share)]
    return f"<tr><td>{texts[0]}</td><td>{texts[1]}</td>{figures(texts[2:-1])}<td>{texts[-1]}</td></tr>"


def _details(pair: Gaps, is_share: bool, cards: Mapping[str, str]) -> str:
    names = [
        "student", f"on {pair.chosen_for}", f"on {pair.run_on}", "latency", "lost", "the fastest as accurate"
    ]  # fmt: skip
    rows = [_gap(gap, is_share, cards) for gap in pair.gaps]
    title = f"Each student chosen for {pair.chosen_for} on {pair.run_on}"
    said = f'<p class="estimate">~ on {escape(pair.run_on)}: {escape(pair.estimate)}.</p>' if pair.estimate else ""
    return f"<details><summary>{escape(title)}</summary>{said}{grid(names, 1, rows)}</details>"


def _gap(gap: Gap, is_share: bool, cards: Mapping[str, str]) -> str:
    record, latency = gap.record, gap.record.latency
    name = f"<td>{student(record.id, cards.get(record.id))}</td>"
    share = about(percent(gap.chosen.ratio, 1), gap.chosen.source)
    if latency is None or gap.slower is None or gap.accuracy_lost is None or gap.rival is None:
        return f"<tr>{name}{figures([share, 'none', '', ''])}<td>{escape(gap.missing)}</td></tr>"
    there, slower, lost = (
        about(figure, latency.source)
        for figure in (percent(latency.ratio, 1), times(gap.slower), points(gap.accuracy_lost, is_share))
    )
    if gap.rival is record:
        return f"<tr>{name}{figures([share, there, '', ''])}<td>itself: on both fronts</td></tr>"
    tied = " (indistinguishable in latency)" if gap.tied else ""
    rival = f"{student(gap.rival.id, cards.get(gap.rival.id))}{tied}"
    return f"<tr>{name}{figures([share, there, slower, lost])}<td>{rival}</td></tr>"
