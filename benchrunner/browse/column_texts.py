"""What each table and column of runs.db holds, read from the page that documents it.

The page is docs/database.md, shipped in this room so that an installed benchrunner has it; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

PAGE = "database.md"

_HEADING = re.compile(r"### `(\w+)`")
_ROW = re.compile(r"\| `(\w+)` \| (.+) \|")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableText:
    """One table or view in words. `columns`: what each holds, in order."""

    name: str
    text: str
    columns: tuple[tuple[str, str], ...]


def table_texts() -> tuple[TableText, ...]:
    """Return the texts of every table and view, in the order of the page."""
    page = resources.files("benchrunner.browse").joinpath(PAGE).read_text(encoding="utf-8")
    return read_page(page.splitlines())


def read_page(lines: Iterable[str]) -> tuple[TableText, ...]:
    """Return the texts under the page's third-level headings, without Markdown's marks."""
    found: list[TableText] = []
    name, said, columns = "", list[str](), list[tuple[str, str]]()
    for line in (*lines, "## end"):
        heading = _HEADING.fullmatch(line)
        if heading or line.startswith("## "):
            if name:
                found.append(TableText(name=name, text=" ".join(said), columns=tuple(columns)))
            name, said, columns = heading[1] if heading else "", [], []
        elif row := _ROW.fullmatch(line):
            columns.append((row[1], _plain(row[2])))
        elif name and line and not line.startswith("|"):
            said.append(_plain(line))
    return tuple(found)


def _plain(text: str) -> str:
    return re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text).replace("`", "")
