"""The report as GitHub Markdown: the page's words and tables, without its pictures."""

from __future__ import annotations

from collections.abc import Iterator

from benchrunner.reporting.charts_course import forecast_chart
from benchrunner.reporting.report import Report
from benchrunner.reporting.report_files import GENERATOR
from benchrunner.reporting.report_tables import ReportTable, overview, tables_of
from benchrunner.reporting.report_words import facts, in_plain_words, in_short, title, warning
from benchrunner.reporting.wording import SIMULATED, printable

_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>|#~"})


def render_markdown(report: Report) -> str:
    """Return the report as Markdown text."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"<!-- {GENERATOR} -->"
    yield f"# {escaped(title(report))}"
    yield ""
    if report.simulated:
        yield f"> **{SIMULATED}.** {escaped(warning(report))}"
        yield ""
    if len(report.runs) > 1:
        yield from _table(overview(report), level=2)
        for run in report.runs:
            yield f"- {escaped(run.name)}: {escaped(in_short(run))}"
        yield ""
    forecast = forecast_chart(report)
    if forecast is not None and forecast.table is not None:
        yield from _table(forecast.table, level=2)
    for run in report.runs:
        mark = f" ({SIMULATED})" if run.summary.simulated else ""
        yield f"## {escaped(run.name)}{mark}"
        yield ""
        yield escaped(in_plain_words(run))
        yield ""
        for name, value in facts(run):
            yield f"- {name}: {escaped(value)}"
        yield ""
        for table in tables_of(run):
            yield from _table(table, level=3)
    yield f"Written by benchrunner {escaped(report.version)}."


def _table(table: ReportTable, level: int) -> Iterator[str]:
    yield f"{'#' * level} {escaped(table.title)}"
    yield ""
    yield _row(table.columns)
    yield _row(["---" if place < table.words else "---:" for place in range(len(table.columns))], raw=True)
    number = 0
    for heading, rows in table.sections:
        if heading:
            yield f"| **{escaped(heading)}** |" + " |" * (len(table.columns) - 1)
        for row in rows:
            cells = [
                f"**{escaped(cell)}**" if (number, place) in table.strong else escaped(cell)
                for place, cell in enumerate(row)
            ]
            yield _row(cells, raw=True)
            number += 1
    yield ""
    if table.note:
        yield escaped(table.note)
        yield ""


def _row(cells: tuple[str, ...] | list[str], *, raw: bool = False) -> str:
    return "| " + " | ".join(cell if raw else escaped(cell) for cell in cells) + " |"


def escaped(text: str) -> str:
    """Return `text` on one line, with nothing in it that Markdown takes for more than a character."""
    return printable(text).translate(_SPECIAL)
