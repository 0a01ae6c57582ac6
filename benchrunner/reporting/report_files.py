"""Where a report goes, and what it may take the place of."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from benchrunner.errors import UsageError
from benchrunner.reporting.report import Report
from benchrunner.reporting.whole_files import write_whole

DEFAULT = Path("report.html")
GENERATOR = "benchrunner report"
"""Stands at the head of every report: by it one is known that may be written anew."""

ENDINGS = {"html": (".html", ".htm"), "md": (".md", ".markdown")}
"""How the names of each form end; Markdown may be called .txt too, where it is asked for."""

FOREIGN = frozenset(
    {".pdf", ".ps", ".tex", ".rtf", ".doc", ".docx", ".odt", ".txt", ".csv", ".tsv", ".json", ".jsonl", ".parquet"}
    | {".xlsx", ".ods", ".xml", ".yaml", ".yml", ".toml", ".db", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".zip", ".gz"}
)
"""Endings that mean another form. All others (.tmp, .new, the .2 of a phase) mean nothing here."""

_LOOKED_AT = 1000  # bytes; the generator stands among the first


class ReportFormat(StrEnum):
    """What a report can be written as."""

    HTML = "html"
    MD = "md"


def format_of(output: Path | None, asked: ReportFormat | None) -> ReportFormat:
    """Return what to write: what was asked for, else what the name of `output` says, else the page.

    Raises UsageError for the name of another form: nobody opens a PDF that is none.
    """
    ending = output.suffix.lower() if output is not None and not output.is_dir() else ""
    said = next((kind for kind in ReportFormat if ending in ENDINGS[kind]), None)
    kind = asked or said or ReportFormat.HTML
    wrong = ending in FOREIGN or said is not None
    if said is kind or not wrong or (kind is ReportFormat.MD and ending == ".txt"):
        return kind
    hint = "; a browser prints the page as PDF" if ending == ".pdf" else ""
    raise UsageError(
        f"{output}: a report is written as .html or .htm, or with --format md as .md, .markdown or .txt{hint}"
    )


def place_for(report: Report, kind: ReportFormat, output: Path | None) -> Path | None:
    """Return the file to write, None for stdout. In a directory the name tells the runs."""
    if output is None:
        return DEFAULT if kind is ReportFormat.HTML else None
    if not output.is_dir():
        return output
    first, more = report.runs[0].summary.run_id, len(report.runs) - 1
    simulated = "-simulated" if report.simulated else ""
    return output / f"report-{first}{f'-and-{more}-more' if more else ''}{simulated}.{kind}"


def may_write(path: Path) -> None:
    """Raise UsageError where a file stands that is no report of ours."""
    if not path.is_file():
        return
    try:
        with path.open("rb") as stream:
            head = stream.read(_LOOKED_AT)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if head and GENERATOR.encode() not in head:
        raise UsageError(f"{path} is no benchrunner report and stays as it is; name another file with -o")


def write_report(path: Path, content: bytes) -> None:
    """Write a report so that nobody ever sees a part of it. Raises UsageError where that cannot be done."""
    may_write(path)
    write_whole(path, content)
