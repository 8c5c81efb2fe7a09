"""Tables of the page."""

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote


def grid(headings: Sequence[str], n_texts: int, rows: Iterable[str], look: str = "") -> str:
    """A table that scrolls where it is too wide.

    Args:
        headings: plain text, escaped here.
        n_texts: so many columns on the left hold text; the others, but for the last, hold figures.
        rows: HTML of `<tr>`.
        look: class of the table; in `wrap` headings may have several lines.
    """
    cells = "".join(
        f'<th class="{"n" if n_texts <= column < len(headings) - 1 else ""}">{escape(name)}</th>'
        for column, name in enumerate(headings)
    )
    return f'<div class="scroll"><table class="{look}"><tr>{cells}</tr>{"".join(rows)}</table></div>'


def figures(cells: Iterable[str]) -> str:
    """Cells of figures; their HTML is taken as it is."""
    return "".join(f'<td class="n">{cell}</td>' for cell in cells)


def student(record_id: str, card: str | None) -> str:
    """An id, linked to its model card where it has one."""
    name = f"<code>{escape(record_id)}</code>"
    return f'<a href="{escape(quote(card))}">{name}</a>' if card else name
