"""Tables as files: what is in them, that they read back, and that they are there whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from recorded_run import FAILED_SCORE, FULL_SCORE, Planned, invalid, planned, scored

from benchrunner.errors import StoreError, UsageError
from benchrunner.records import TrialStarted
from benchrunner.reporting import export as under_test
from benchrunner.reporting.export import BrokenTable, ExportFormat, collect, read_csv, render, write_table
from benchrunner.reporting.results_table import COLUMNS
from benchrunner.reporting.table_check import check_table
from benchrunner.store.queries import RunReader
from benchrunner.store.writer import RunWriter

STARTED = "2025-08-26T10:00:10.000000Z"


def record(writer: RunWriter, plan: Planned) -> None:
    """Record of eight trials: six scored, one invalid, one not ended."""
    writer.add_run(plan.run, plan.shards, plan.trials, plan.tasks)
    writer.record([TrialStarted(trial_id=trial.trial_id, started_at=STARTED) for trial in plan.trials])
    ends = [
        scored(trial, FULL_SCORE if number % 2 else FAILED_SCORE) for number, trial in enumerate(plan.trials[:6])
    ]
    writer.record([*ends, invalid(plan.trials[6])])


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[RunReader]:
    """Return a reader of three runs: two simulated ones, r1 and r2, and a live one."""
    path = tmp_path / "runs.db"
    with RunWriter.open(path) as writer:
        record(writer, planned("live1", backend="live", started_at="2025-08-24T10:00:00.000000Z"))
        record(writer, planned("r1", started_at="2025-08-25T10:00:00.000000Z"))
        record(writer, planned("r2"))
    with RunReader.open(path) as opened:
        yield opened


def test_a_run_becomes_a_table_of_its_trials(reader: RunReader) -> None:
    """The newest run when none is named; a trial that has not ended is in no row and is told."""
    export = collect(reader, [])
    assert [run.run_id for run in export.runs] == ["r2"]
    assert [(row.model, row.task_type, row.total, row.full_success, row.infra_excluded) for row in export.rows] == [
        ("m-big", "basic_task", 2, 0, 0),
        ("m-big", "simple_task", 2, 2, 0),
        ("m-small", "basic_task", 1, 0, 1),
        ("m-small", "simple_task", 1, 1, 0),
    ]
    assert (export.not_ended, export.simulated) == (1, True)
    assert {row.avg_execution_time for row in export.rows} == {20.0}


def test_runs_are_put_together_and_one_named_twice_counts_once(reader: RunReader) -> None:
    """The trials of different runs are different trials."""
    together = collect(reader, ["r1", "r2", "r1"])
    assert [row.total for row in together.rows] == [4, 4, 2, 2]
    assert [run.run_id for run in together.runs] == ["r1", "r2"]
    assert together.file_name(ExportFormat.CSV) == "results-r1-and-1-more-simulated.csv"


def test_simulated_and_live_results_are_not_mixed(reader: RunReader) -> None:
    """A table is one or the other, and a live one's name does not say simulated."""
    with pytest.raises(UsageError, match="live1 is live and r1 is simulated"):
        collect(reader, ["live1", "r1"])
    live = collect(reader, ["live1"])
    assert (live.simulated, live.file_name(ExportFormat.JSON)) == (False, "results-live1.json")


def test_an_unknown_run_is_refused(reader: RunReader) -> None:
    """With the store's own sentence."""
    with pytest.raises(StoreError):
        collect(reader, ["nosuch"])


def test_csv_has_52_columns_and_reads_back_as_it_was(reader: RunReader, tmp_path: Path) -> None:
    """Every float by its shortest exact text; what was not measured is an empty cell."""
    export = collect(reader, ["r1", "r2"])
    content = render(export, ExportFormat.CSV)
    lines = list(csv.reader(io.StringIO(content.decode())))
    assert (tuple(lines[0]), {len(line) for line in lines}) == (COLUMNS, {52})
    path = tmp_path / "t.csv"
    write_table(path, content)
    assert read_csv(path) == export.rows


def test_a_cell_lost_to_infrastructure_reads_back_without_rates(tmp_path: Path, reader: RunReader) -> None:
    """None, an empty cell, None again."""
    rows = collect(reader, ["r1"]).rows
    row = replace(rows[2], total=0, success_rate=None, avg_turns=None)
    path = tmp_path / "t.csv"
    write_table(path, render(under_test.ResultsExport(runs=(), rows=(row,)), ExportFormat.CSV))
    assert read_csv(path) == (row,)


def test_json_nests_the_rows_and_tells_their_origin(reader: RunReader) -> None:
    """models, by_prompt_type, by_tool_success_rate, by_difficulty, by_task_type, then the row's own columns."""
    export = collect(reader, ["r1"])
    document = orjson.loads(render(export, ExportFormat.JSON))
    cell = document["models"]["m-small"]["by_prompt_type"]["optimal"]["by_tool_success_rate"]["0.8"]
    row = cell["by_difficulty"]["easy"]["by_task_type"]["basic_task"]
    assert tuple(row) == COLUMNS
    assert (row["total"], row["attempted"], row["infra_excluded"]) == (1, 2, 1)
    assert document["metadata"]["simulated"] is True
    assert [(run["run_id"], run["backend"]) for run in document["metadata"]["runs"]] == [("r1", "simulated")]


def test_parquet_holds_the_same_rows_typed_with_their_origin(reader: RunReader) -> None:
    """Counts are integers, rates doubles, and the file's own metadata says simulated."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra `parquet`)")
    export = collect(reader, ["r1"])
    table = parquet.read_table(io.BytesIO(render(export, ExportFormat.PARQUET)))
    assert tuple(table.column_names) == COLUMNS
    assert {str(table.schema.field(name).type) for name in ("total", "attempted", "other_errors")} == {"int64"}
    assert {str(table.schema.field(name).type) for name in ("success_rate", "avg_turns")} == {"double"}
    assert table.to_pylist()[0]["model"] == "m-big"
    assert orjson.loads(table.schema.metadata[b"benchrunner"])["simulated"] is True


def test_parquet_without_its_library_says_what_to_install(reader: RunReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the pip line, exit 2."""

    def absent(name: str) -> object:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(under_test.importlib, "import_module", absent)
    with pytest.raises(UsageError, match=r"pip install 'benchrunner\[parquet\]'"):
        render(collect(reader, ["r1"]), ExportFormat.PARQUET)


def test_a_table_that_breaks_an_identity_is_never_written(reader: RunReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a bug: the error tells the faults and the rows."""
    sound = under_test.results_table
    monkeypatch.setattr(
        under_test, "results_table", lambda trials: tuple(replace(row, success=99) for row in sound(trials))
    )
    with pytest.raises(BrokenTable, match=r"(?s)row 1 .*success is 99.*ResultRow\(model='m-big'"):
        collect(reader, ["r1"])


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    """Through a link the file behind it is renewed; a place that cannot be written leaves everything as it was."""
    path, link = tmp_path / "t.csv", tmp_path / "link.csv"
    path.write_text("")
    link.symlink_to(path)
    write_table(link, b"new")
    assert (path.read_text(), link.is_symlink()) == ("new", True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.csv", "t.csv"]
    with pytest.raises(UsageError, match=r"there is no directory .*/nowhere$"):
        write_table(tmp_path / "nowhere" / "t.csv", b"x")


HEADER = ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no line at its top names the columns"),
        (b"model,total\n", "lacks 48 of 50 columns: prompt_type, tool_success_rate, difficulty, task_type and 44 more"),
        (f"{HEADER}\na,b\n".encode(), "line 2: 2 values under 52 columns"),
        (f"{HEADER}\n{','.join(['x'] * 52)}\n".encode(), "line 2, tool_success_rate: 'x' is no number"),
        (f"{HEADER}\n{','.join(['1.5'] * 52)}\n".encode(), "line 2, total: '1.5' is no whole number"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (f"{HEADER}\n{'x' * 200_000}\n".encode(), "line 2: field larger than field limit"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_the_place(tmp_path: Path, content: bytes, said: str) -> None:
    """Line and column, in one sentence."""
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_csv(path)


def test_the_fields_own_fifty_columns_can_be_checked(tmp_path: Path, reader: RunReader) -> None:
    """Counts written as 2.0 and missing columns of ours are taken as they are."""
    rows = [
        ["2.0" if name in ("total", "success") else value for name, value in zip(COLUMNS, line, strict=True)][:50]
        for line in list(csv.reader(io.StringIO(render(collect(reader, ["r1"]), ExportFormat.CSV).decode())))[1:3]
    ]
    path = tmp_path / "field.csv"
    path.write_text("\n".join(",".join(line) for line in [list(COLUMNS[:50]), *rows]) + "\n\n")
    read = read_csv(path)
    assert [(row.total, row.attempted, row.infra_excluded) for row in read] == [(2, None, None)] * 2
    assert any("success is 2" in fault for fault in check_table(read))


@pytest.mark.parametrize("kind", [ExportFormat.CSV, ExportFormat.JSON])
def test_a_table_is_written_anew_and_anything_else_stays(kind: ExportFormat, tmp_path: Path, reader: RunReader) -> None:
    """A slip of the hand behind -o costs nobody a database, a config, or a table of somebody else's."""
    content, path = render(collect(reader, ["r1"]), kind), tmp_path / "t"
    for _ in range(2):
        write_table(path, content)
    assert path.read_bytes() == content
    for foreign in (b"SQLite format 3\0", b"[run]\ndb = 'runs.db'\n", b"a,b\n1,2\n"):
        path.write_bytes(foreign)
        with pytest.raises(UsageError, match="is no table of benchrunner's and stays as it is"):
            write_table(path, content)
        assert path.read_bytes() == foreign
