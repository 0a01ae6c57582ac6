"""Tables for people, whatever stands in them, and any record as JSON for scripts.

A terminal gets colour, everything else (a pipe, a log, NO_COLOR) plain text of the same shape. 80 columns are enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchrunner.reporting.wording import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column's title and how its cells stand: numbers right and whole, words left and folded where space is short.

    `whole`: words that are not folded either, as one copies them.
    """

    title: str
    numeric: bool = False
    whole: bool = False


def to_json(record: object) -> str:
    """Return a record, or a sequence of them, as indented JSON text; not-a-number and infinity become null."""
    return orjson.dumps(record, option=orjson.OPT_INDENT_2).decode()


def table(title: str, columns: Sequence[Column], cells: Iterable[Sequence[object]]) -> RenderableType:
    """Return a titled table of `cells`; None is shown as `-`. Print it on a console from `console_for`."""
    made = _rows(columns, ([_cell_text(cell) for cell in row] for row in cells))
    # Above the table, not the table's own: a title wraps at the screen's width, not at a narrow table's.
    return Group(Text(title, style="bold"), made)


def _cell_text(cell: object) -> str:
    return "-" if cell is None else printable(str(cell))


def _rows(
    columns: Sequence[Column],
    lines: Iterable[Sequence[str]],
    widths: Sequence[int] | None = None,
    *,
    header: bool = True,
) -> Table:
    """Return the lines as a table. `widths`: the least of each column, so that tables under one another line up."""
    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=header)
    for place, column in enumerate(columns):
        made.add_column(
            Text(column.title),
            justify="right" if column.numeric else "left",
            no_wrap=column.numeric or column.whole,
            overflow="fold",
            min_width=None if widths is None else widths[place],
        )
    for line in lines:
        made.add_row(*map(Text, line))
    return made


def show(console: Console, parts: Iterable[RenderableType]) -> None:
    """Print the parts with an empty line between them."""
    for number, part in enumerate(parts):
        if number:
            console.print()
        console.print(part)


def sectioned_table(
    title: str, columns: Sequence[Column], sections: Mapping[str, Sequence[Sequence[object]]]
) -> RenderableType:
    """Return a titled table in sections, each under its heading; one without a heading is a plain `table`."""
    if set(sections) <= {""}:
        return table(title, columns, sections.get("", ()))
    texts = {
        heading: [["  " + _cell_text(row[0]), *map(_cell_text, row[1:])] for row in rows]
        for heading, rows in sections.items()
    }
    held = [[column.title for column in columns], *(line for lines in texts.values() for line in lines)]
    widths = [max(len(line[place]) for line in held) for place in range(len(columns))]
    parts: list[RenderableType] = [Text(title, style="bold"), _rows(columns, (), widths)]
    for heading, lines in texts.items():
        parts += [Text(printable(heading)), _rows(columns, lines, widths, header=False)]
    return Group(*parts)
