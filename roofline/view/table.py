"""A table and its four renderings: aligned text for people; JSON, CSV and Markdown for the rest."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..errors import printable
from ..result import plain

SENTENCE, NARROWEST = 30, 16  # columns that a text gives way to: at first, and where that is not enough
WARNING = "DOES NOT FIT"  # in red where there are colours: nothing else is coloured
TALL = 40  # rows
LONG_WORD = 30  # columns: longer words are broken
PLAIN_WIDTH = 100  # columns where the output is a file or a pipe
_NUMERIC = re.compile(r"[-+~<>≥≤≈±]?\s?\$?[\d.,]+(e[-+]?\d+)?\s?\S{0,10}")
_FORMULA = r"[=@]|[-+](?![\d.,]*(e[-+]?\d+)?\s?%?$)"  # what a spreadsheet runs


class Cell(msgspec.Struct, frozen=True):
    """A table cell that people read as `text` and CSV holds as `value` (a number in base units)."""

    value: Any
    text: str


class Table(msgspec.Struct, frozen=True):
    """One table of a result.

    Attributes:
        title: Heading; "" for none.
        columns: Column headings; all "" prints the rows alone.
        rows: Cells: text, numbers, None (missing), or `Cell` where CSV wants another value than people do.
        align: One letter per column, "l" or "r"; by default columns of numbers are right-aligned.
        keys: Column names in CSV; by default `columns`.
        names: How many of the first columns say what a row is: they are repeated where a table stands in parts.
        spare: Columns that a tall table leaves out first where it has no room, in this order; then the last ones.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    align: str = ""
    keys: Sequence[str] = ()
    names: int = 1
    spare: Sequence[str] = ()


class Shown(msgspec.Struct, frozen=True):
    """An answer as it is written: the JSON object, tables, sentences below them, and CSV where it is not a table."""

    data: Mapping[str, Any]
    tables: Sequence[Table]
    notes: Sequence[str] = ()
    records: Table | None = None

    def __iter__(self) -> Iterator[Any]:
        """In their order, as `commands.output.emit` takes them."""
        return iter(msgspec.structs.astuple(self))


def render_json(data: Any) -> str:
    """Indented JSON; a value that is not a number (NaN, infinity) becomes null.

    >>> print(render_json({"mfu": float("nan"), "steps": 3}), end="")
    {
      "mfu": null,
      "steps": 3
    }
    """
    import json

    text = json.dumps(plain(data), indent=2, allow_nan=False, ensure_ascii=False)
    if not text.replace("\n", "").isprintable():  # JSON itself lets some of what a terminal obeys stand in strings
        text = "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    return text + "\n"


def of_records(records: Sequence[Mapping[str, Any]]) -> Table:
    """Records of the same keys as a table, a row each."""
    return Table("", list(records[0]) if records else [], [list(record.values()) for record in records])


def render_csv(table: Table) -> str:
    """One table as CSV: exact values, a missing one is an empty field."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.keys or table.columns)
    for row in table.rows:
        values = [plain(cell.value if isinstance(cell, Cell) else cell) for cell in row]
        writer.writerow("" if value is None else csv_text(value) for value in values)
    return out.getvalue()


def csv_text(value: Any) -> Any:
    """A value as CSV holds it: text that a spreadsheet would run as a formula is quoted as text."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if re.match(_FORMULA, text) else text


def render_markdown(tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """Tables and notes as GitHub-flavoured Markdown."""
    notes = [printable(note) for note in notes]
    blocks = []
    for table in tables:
        cells = [[" ".join(cell_text(cell).split()).replace("|", "\\|") for cell in row] for row in table.rows]
        rule = ["---:" if side == "r" else "---" for side in alignment(table)]
        lines = ["| " + " | ".join(row) + " |" for row in (table.columns, rule, *cells)]
        blocks.append((f"**{printable(table.title)}**\n\n" if table.title else "") + "\n".join(lines))
    return "\n\n".join([*blocks, *notes]) + "\n"


def render_text(
    tables: Sequence[Table], notes: Sequence[str] = (), width: int = PLAIN_WIDTH, *, bold: bool = False
) -> str:
    """Tables and notes as aligned plain text of `width` columns; `bold` on a terminal that shows it."""
    import textwrap

    blocks = [_text_table(table, width, bold=bold) for table in tables]
    if notes:
        room = min(width, PLAIN_WIDTH)
        whole = textwrap.TextWrapper(room, break_long_words=False, break_on_hyphens=False)  # an option is one word
        blocks.append("\n".join(whole.fill(printable(note)) for note in notes))
    text = "\n\n".join(block for block in blocks if block) + "\n"
    return text.replace(WARNING, f"\033[1;31m{WARNING}\033[0m") if bold else text


def cell_text(cell: Any) -> str:
    """A cell as people read it.

    >>> [cell_text(cell) for cell in (1637020800, 0.12345678, None, True, "x", Cell(1e9, "1 GB"))]
    ['1,637,020,800', '0.1235', '-', 'yes', 'x', '1 GB']
    """
    if hasattr(cell, "tolist"):  # a NumPy scalar
        cell = cell.tolist()
    match cell:
        case Cell():
            text = printable(cell.text)
        case None:
            text = "-"
        case bool():
            text = "yes" if cell else "no"
        case int():
            text = f"{cell:,}"
        case float():
            text = f"{cell:.4g}" if math.isfinite(cell) else "-"
        case _:
            text = printable(str(cell))
    return text


def alignment(table: Table) -> str:
    """One letter per column: numbers (and text that starts as one) to the right."""
    if table.align:
        return table.align
    sides = ""
    for column in range(len(table.columns)):
        texts = [cell_text(row[column]) for row in table.rows]
        texts = [text for text in texts if text not in {"-", ""}]
        sides += "r" if texts and all(_NUMERIC.fullmatch(text) for text in texts) else "l"
    return sides


def _text_table(table: Table, width: int, *, bold: bool) -> str:
    """One table of at most `width` columns where that can be, whole words kept.

    What is too wide gives way in this order: long sentences, headings of several words, the space between columns, the
    widest text. What is still too wide stands in parts, each with the columns that name its rows; a tall table stays
    one, its long names break, and its last columns are left out, which a line below says.
    """
    title = "\n".join(_wrapped(printable(table.title), width)) if table.title else ""
    lines = ["\n".join(f"\033[1m{line}\033[0m" if bold else line for line in title.split("\n"))] if title else []
    cells = [[cell_text(cell) for cell in row] for row in table.rows]
    header = [printable(column) for column in table.columns]
    columns = [[head, *texts] for head, *texts in zip(header, *cells, strict=True)] if header else []
    sides = alignment(table)
    gone = _without_room(columns, sides, width, table) if len(table.rows) > TALL else []
    sides = "".join(side for place, side in enumerate(sides) if place not in gone)
    columns = [column for place, column in enumerate(columns) if place not in gone]
    parts = _parts(columns, sides, width, table.names)
    for place, (part, sides) in enumerate(parts):
        lines += ([""] if place else []) + _aligned(part, sides, width, headed=any(header))
    if gone:
        left = f"Left out of {width} columns: {', '.join(header[place] for place in gone)} (--format csv has all)."
        lines += ["", *_wrapped(left, width)]
    return "\n".join(lines)


def _without_room(columns: list[list[str]], sides: str, width: int, table: Table) -> list[int]:
    """The columns that give way, in their order; none where not even one beside the names has room."""
    spare = [place for name in table.spare for place, column in enumerate(table.columns) if column == name]
    spare += [place for place in reversed(range(table.names + 1, len(columns))) if place not in spare]
    for most in range(len(spare) + 1):
        left = [place for place in range(len(columns)) if place not in spare[:most]]
        widths, _ = _layout([columns[place] for place in left], "".join(sides[place] for place in left), width)
        if sum(widths) + len(left) - 1 <= width:
            return sorted(spare[:most])
    return []


def _parts(columns: list[list[str]], sides: str, width: int, names: int) -> list[tuple[list[list[str]], str]]:
    """Columns side by side where they have room; else in parts, the first `names` columns in each."""
    tall = bool(columns) and len(columns[0]) > TALL  # parts of it would lie screens apart
    if not columns or tall or sum(_layout(columns, sides, width)[0]) + len(columns) - 1 <= width:
        return [(columns, sides)]
    named, letters = columns[:names], sides[:names]
    parts: list[tuple[list[list[str]], str]] = []
    held, of = list(named), letters
    for column, side in zip(columns[names:], sides[names:], strict=True):
        widths, gap = _layout([*held, column], of + side, width)
        if len(held) > names and sum(widths) + gap * len(held) > width:
            parts.append((held, of))
            held, of = list(named), letters
        held, of = [*held, column], of + side
    return [*parts, (held, of)]


def _layout(columns: list[list[str]], sides: str, width: int) -> tuple[list[int], int]:
    """The width of each column, and the space between them."""
    heads = [column[0] for column in columns]
    texts = [max(map(len, column[1:]), default=0) for column in columns]
    widths = [max(len(head), text) for head, text in zip(heads, texts, strict=True)]
    gap, left = 2, [place for place, side in enumerate(sides) if side == "l"]

    def excess() -> int:
        return sum(widths) + gap * (len(widths) - 1) - width

    def shorten(least: int) -> None:
        wide = max(left, key=widths.__getitem__, default=None)
        if wide is not None and widths[wide] > least and excess() > 0:
            longest = max((len(word) for text in columns[wide] for word in text.split()), default=0)
            widths[wide] = max(min(widths[wide], max(least, min(longest, LONG_WORD))), widths[wide] - excess())

    shorten(SENTENCE)
    narrow = [max(text, *map(len, head.split()), 0) for head, text in zip(heads, texts, strict=True)]
    for place in sorted(range(len(widths)), key=lambda place: narrow[place] - widths[place]):
        if excess() > 0:
            widths[place] = max(min(narrow[place], widths[place]), widths[place] - excess())
    if excess() > 0:
        gap = 1
    shorten(NARROWEST)
    if excess() > 0 and len(columns[0]) > TALL and left:  # no parts: long names break behind their dashes and dots
        wide = max(left, key=widths.__getitem__)
        widths[wide] = max(NARROWEST, widths[wide] - excess())
    return widths, gap


def _aligned(columns: list[list[str]], sides: str, width: int, *, headed: bool) -> list[str]:
    """Lines of columns that have room."""
    widths, gap = _layout(columns, sides, width)

    def lines(row: Sequence[str], *, at_foot: bool = False) -> list[str]:
        wrapped = [_wrapped(text, max(w, 1)) for text, w in zip(row, widths, strict=True)]
        depth = max((len(part) for part in wrapped), default=1)
        if at_foot:
            wrapped = [[""] * (depth - len(part)) + part for part in wrapped]
        filled = [[*part, *[""] * (depth - len(part))] for part in wrapped]
        return [_line([part[i] for part in filled], widths, sides, gap) for i in range(depth)]

    found = []
    if headed:
        found = [*lines([column[0] for column in columns], at_foot=True), (" " * gap).join("─" * w for w in widths)]
    for row in zip(*(column[1:] for column in columns), strict=True):
        found += lines(row)
    return found


def _line(texts: Sequence[str], widths: Sequence[int], sides: str, gap: int) -> str:
    padded = (t.rjust(w) if side == "r" else t.ljust(w) for t, w, side in zip(texts, widths, sides, strict=True))
    return (" " * gap).join(padded).rstrip()


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns; a word that is longer breaks behind a dot, dash, slash or underscore.

    >>> _wrapped("optimizer.clip_gradients of all", 16)
    ['optimizer.clip_', 'gradients of all']
    """
    if len(text) <= width and text.isprintable() and not text.endswith(" "):
        return [text]
    if all(len(word) <= width for word in text.split()):
        import textwrap

        return textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    lines = [""]
    for word in text.split():
        parts = re.findall(r".+?(?:[._/-]+(?=\w)|$)", word) if len(word) > width else [word]
        for i, part in enumerate(parts):
            glue = " " if i == 0 and lines[-1] else ""
            if len(lines[-1]) + len(glue) + len(part) <= width:
                lines[-1] += glue + part
                continue
            chunks = [part[k : k + width] for k in range(0, len(part), width)]
            lines = lines + chunks if lines[-1] else chunks if len(lines) == 1 else lines[:-1] + chunks
    return lines
