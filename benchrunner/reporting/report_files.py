"""Where a report goes, and what it may take the place of."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from benchrunner.errors import UsageError
from benchrunner.reporting.report import Report

DEFAULT = Path("report.html")
GENERATOR = "benchrunner report"
"""Stands at the head of every report: by it one is known that may be written anew."""

_LOOKED_AT = 1000  # bytes; the generator stands among the first


class ReportFormat(StrEnum):
    """What a report can be written as."""

    HTML = "html"
    MD = "md"


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
