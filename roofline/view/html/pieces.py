"""The pieces an answer is made of: the answer itself, facts, tables, sentences; and a fragment that holds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..table import Table, alignment, cell_text
from .style import CLASS, style_sheet
from .text import escape


def fragment(*pieces: str) -> str:
    """Pieces one below the other, with their style sheet: what a notebook shows."""
    return f'{style_sheet()}<div class="{CLASS}">{"".join(pieces)}</div>'


def answer(title: str, headline: str, detail: str = "", *, good: bool = True) -> str:
    """What was asked in small, what comes out in large, and a line on it; not `good` is set apart in red."""
    mark = "" if good else " bad"
    below = f'<p class="soft" style="margin:.1em 0 0">{escape(detail)}</p>' if detail else ""
    return f'<section><h3>{escape(title)}</h3><p class="big{mark}">{escape(headline)}</p>{below}</section>'


def facts(rows: Iterable[Sequence[str]]) -> str:
    """Names and what they are, one a line; rows without a text are left out."""
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows if text)
    return f"<section><dl>{lines}</dl></section>"


def table(shown: Table) -> str:
    """A table as people read it."""
    sides = [' class="r"' if side == "r" else "" for side in alignment(shown)]

    def row(cells: Iterable[object], tag: str) -> str:
        inside = (f"<{tag}{side}>{escape(cell_text(cell))}</{tag}>" for cell, side in zip(cells, sides, strict=True))
        return f"<tr>{''.join(inside)}</tr>"

    title = f"<caption>{escape(shown.title)}</caption>" if shown.title else ""
    head = f"<thead>{row(shown.columns, 'th')}</thead>" if any(shown.columns) else ""
    body = "".join(row(cells, "td") for cells in shown.rows)
    return f'<section class="scroll"><table>{title}{head}<tbody>{body}</tbody></table></section>'


def assumptions(notes: Sequence[str], title: str = "What this rests on") -> str:
    """Sentences, folded away: a reader opens them without script."""
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    summary = f"<summary>{escape(title)} ({len(notes)})</summary>"
    return f'<section><details>{summary}<ul class="notes">{items}</ul></details></section>'
