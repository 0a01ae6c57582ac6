"""The results table as a file (CSV, nested JSON, Parquet): checked first, and written whole or not at all.

CSV keeps the field's columns and nothing else, so that what it says of its origin stands in the file's name; JSON and
Parquet carry it inside.
"""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import orjson

from benchrunner.errors import BenchrunnerError, UsageError, pip_line
from benchrunner.reporting.results_table import COLUMNS, OWN_COLUMNS, ResultRow, results_table
from benchrunner.reporting.table_check import check_table
from benchrunner.reporting.whole_files import write_whole
from benchrunner.store.answers import RunRow
from benchrunner.store.queries import RunReader

_LOOKED_AT = 1000  # bytes
_NAMED_COLUMNS = 4  # of those a file lacks: enough to see what is wrong, and one line


class ExportFormat(StrEnum):
    """What a table can be written as."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


class CsvLines(Protocol):
    """What `csv.reader` gives, which has no public type."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


class BrokenTable(BenchrunnerError):
    """A table made from trial rows breaks an identity: a bug, so nothing is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsExport:
    """A table with where it comes from."""

    runs: tuple[RunRow, ...]
    rows: tuple[ResultRow, ...]

    @property
    def simulated(self) -> bool:
        """Return whether the embedded provider's models made these results."""
        return any(run.backend == "simulated" for run in self.runs)

    @property
    def not_ended(self) -> int:
        """Return how many planned trials are in no row, because nobody has scored or lost them yet."""
        return sum(run.planned - run.scored - run.invalid for run in self.runs)

    def file_name(self, kind: ExportFormat) -> str:
        """Return the name a file of this table should have."""
        of = self.runs[0].run_id if len(self.runs) == 1 else f"{self.runs[0].run_id}-and-{len(self.runs) - 1}-more"
        return f"results-{of}{'-simulated' if self.simulated else ''}.{kind}"


def collect(reader: RunReader, references: Sequence[str]) -> ResultsExport:
    """Return the table over all trials of the runs that `references` name (none: the newest run).

    Raises StoreError for an unknown run, UsageError when simulated and live results would be mixed, and BrokenTable.
    """
    found = [reader.find_run(reference) for reference in references] or [reader.find_run()]
    # A run named twice would count each of its trials twice.
    runs = tuple({run.run_id: run for run in found}.values())
    backends = {run.backend: run.run_id for run in runs}
    if len(backends) > 1:
        said = " and ".join(f"{run_id} is {backend}" for backend, run_id in sorted(backends.items()))
        raise UsageError(f"{said}: simulated and live results do not belong into one table; export them apart")
    rows = results_table(trial for run in runs for trial in reader.ended_trials(run.run_id))
    faults = check_table(rows)
    if faults:
        shown = "\n".join([*faults, *(repr(row) for row in rows)])
        raise BrokenTable(f"this table is wrong and was not written; please report it with these lines:\n{shown}")
    return ResultsExport(runs=runs, rows=rows)


def render(export: ResultsExport, kind: ExportFormat) -> bytes:
    """Return the bytes of a file. Raises UsageError for Parquet where pyarrow is not installed."""
    match kind:
        case ExportFormat.CSV:
            return _csv(export.rows)
        case ExportFormat.JSON:
            return orjson.dumps(_document(export), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        case ExportFormat.PARQUET:
            return _parquet(export)


def write_table(path: Path, content: bytes) -> None:
    """Write a table. Raises UsageError where that cannot be done, or where a file stands that is no such table.

    A slip of the hand must not cost a database.
    """
    try:
        if path.is_file() and not _is_table(path):
            raise UsageError(f"{path} is no table of benchrunner's and stays as it is; name another file with -o")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    write_whole(path, content)


def _is_table(path: Path) -> bool:
    """Return whether a file is empty, or begins as one of our tables does."""
    with path.open("rb") as stream:
        head = stream.read(_LOOKED_AT)
    beginnings = (",".join(COLUMNS[:5]).encode(), b'{\n  "metadata": {\n    "simulated":', b"PAR1")
    return not head or head.removeprefix(b"\xef\xbb\xbf").startswith(beginnings)


def read_csv(path: Path) -> tuple[ResultRow, ...]:
    """Return the rows of a table in CSV, ours or one of the field's fifty columns.

    Raises UsageError, with the line and column, for a file that is none.
    """
    try:
        content = path.read_bytes()
        form = _other_form(content)
        if form:
            raise UsageError(f"{path} is {form}; only CSV can be checked, as `benchrunner export -o x.csv` writes it")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start})") from error
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        return tuple(_rows(lines, path))
    except csv.Error as error:
        raise UsageError(f"{path} line {lines.line_num}: {error}") from error


def _other_form(content: bytes) -> str:
    if content.startswith(b"PAR1"):
        return "Parquet"
    return "JSON" if content.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")) else ""


def _rows(lines: CsvLines, path: Path) -> Iterator[ResultRow]:
    header = tuple(next(lines, ()))
    wanted = [name for name in COLUMNS if name not in OWN_COLUMNS]
    missing = [name for name in wanted if name not in header]
    if missing:
        raise UsageError(_lack(path, missing, len(wanted)))
    for line in lines:
        if not line:
            continue  # an empty line at the end
        if len(line) != len(header):
            raise UsageError(f"{path} line {lines.line_num}: {len(line)} values under {len(header)} columns")
        yield _row(dict(zip(header, line, strict=True)), f"{path} line {lines.line_num}")


def _lack(path: Path, missing: Sequence[str], wanted: int) -> str:
    if len(missing) == wanted:
        return f"{path} is no results table: no line at its top names the columns (docs/results-table.md lists them)"
    more = f" and {len(missing) - _NAMED_COLUMNS} more" if len(missing) > _NAMED_COLUMNS else ""
    named = ", ".join(missing[:_NAMED_COLUMNS])
    return f"{path} is no results table: it lacks {len(missing)} of {wanted} columns: {named}{more}"


def _row(values: dict[str, str], where: str) -> ResultRow:
    read: dict[str, Any] = {}
    for one in fields(ResultRow):
        text = values.get(one.name, "").strip()
        kinds = str(one.type)
        if kinds == "str":
            read[one.name] = text
        elif not text and "None" in kinds:
            read[one.name] = None
        else:
            read[one.name] = _number(text, whole=kinds.startswith("int"), where=f"{where}, {one.name}")
    return ResultRow(**read)


def _number(text: str, *, whole: bool, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"{where}: {text[:40]!r} is no number") from None
    if not whole:
        return value
    if not value.is_integer():  # "12.0" is a count some tools write
        raise UsageError(f"{where}: {text[:40]!r} is no whole number")
    return int(value)


def _csv(rows: Sequence[ResultRow]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(row) for row in rows)  # floats by repr: they read back as the same number
    return text.getvalue().encode()


def _origin(export: ResultsExport) -> dict[str, object]:
    runs = [
        {
            "run_id": run.run_id,
            "phase": run.phase,
            "policy": run.policy,
            "backend": run.backend,
            "status": run.status,
            "seed": run.seed,
            "version": run.version,
            "started_at": run.started_at,
            "ended_at": run.ended_at,
        }
        for run in export.runs
    ]
    return {"simulated": export.simulated, "runs": runs, "trials_not_ended": export.not_ended}


def _document(export: ResultsExport) -> dict[str, object]:
    models: dict[str, Any] = {}
    for row in export.rows:
        place = models
        for name, level in (
            (row.model, "by_prompt_type"),
            (row.prompt_type, "by_tool_success_rate"),
            (str(row.tool_success_rate), "by_difficulty"),
            (row.difficulty, "by_task_type"),
        ):
            place = place.setdefault(name, {}).setdefault(level, {})
        place[row.task_type] = asdict(row)
    return {"metadata": _origin(export), "models": models}


def _parquet(export: ResultsExport) -> bytes:
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError(f"Parquet needs pyarrow: {pip_line('parquet')}") from error
    kinds = {"str": arrow.string(), "int": arrow.int64(), "float": arrow.float64()}
    schema = arrow.schema(
        [arrow.field(one.name, kinds[str(one.type).partition(" ")[0]]) for one in fields(ResultRow)],
        metadata={"benchrunner": orjson.dumps(_origin(export))},
    )
    table = arrow.Table.from_pylist([asdict(row) for row in export.rows], schema=schema)
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()
