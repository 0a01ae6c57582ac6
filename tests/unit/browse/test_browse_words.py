"""What the pages are told of runs.db: the words of its tables, the ready queries, Datasette's metadata."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest

from benchrunner.browse.column_texts import TableText, read_page, table_texts
from benchrunner.browse.metadata import DATABASE, HIDDEN, metadata_for
from benchrunner.browse.ready_queries import READY_QUERIES, ReadyQuery, ready_query
from benchrunner.store.writer import RunWriter

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
from recorded_run import FAILED_SCORE, planned, scored

DOCUMENT = Path(__file__).parents[3] / "docs" / "database.md"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Return a connection to a runs.db of two runs, the older one with a scored trial."""
    with RunWriter.open(tmp_path / "runs.db") as writer:
        for run_id, at in (("r1", "2025-08-26T10:00:00.000000Z"), ("r2", "2025-08-27T10:00:00.000000Z")):
            plan = planned(run_id, started_at=at)
            writer.add_run(plan.run, plan.shards, plan.trials, plan.tasks)
        writer.record([scored(planned("r1").trials[0], FAILED_SCORE)])
    with closing(sqlite3.connect(tmp_path / "runs.db")) as opened:
        opened.row_factory = sqlite3.Row
        yield opened


def test_the_shipped_page_is_the_one_in_docs() -> None:
    """One text: docs/database.md. After a change there: cp docs/database.md benchrunner/browse/database.md."""
    shipped = resources.files("benchrunner.browse").joinpath("database.md").read_text(encoding="utf-8")
    assert shipped == DOCUMENT.read_text(encoding="utf-8")


def test_a_page_becomes_texts_without_marks() -> None:
    """Headings name tables, the lines below them are their text, rows of the table are columns."""
    # Given a page with a link, code marks and a section after the last table
    page = ["## Tables", "", "### `runs`", "One [run](x.md),", "`a` line.", "", "| column | holds |", "|---|---|",
            "| `id` | sortable `text` |", "", "## Other", "not of runs"]  # fmt: skip
    # When / Then
    assert read_page(page) == (TableText(name="runs", text="One run, a line.", columns=(("id", "sortable text"),)),)


def test_every_table_and_view_has_words_for_each_column(connection: sqlite3.Connection) -> None:
    """What Datasette shows beside a column is there for all of them."""
    # Given the schema as built
    names = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        if not name.startswith("_sqlite")
    ]
    built = {name: [row["name"] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}
    # Then the texts cover it
    assert {one.name: [name for name, _ in one.columns] for one in table_texts()} == built


def test_orders_facets_labels_and_units_name_columns_that_exist() -> None:
    """A metadata entry on a column that is not there makes Datasette answer with an error page."""
    tables = metadata_for(Path("runs.db"))["databases"][DATABASE]["tables"]
    wrong = [
        (name, column)
        for name, table in tables.items()
        if name not in HIDDEN
        for column in (
            *table["facets"],
            *table["units"],
            *(table[option] for option in ("sort", "sort_desc", "label_column") if option in table),
        )
        if column not in table["columns"]
    ]
    assert wrong == []


def test_bookkeeping_tables_are_hidden() -> None:
    """Id blocks and the list of migrations say nothing about runs."""
    tables = metadata_for(Path("runs.db"))["databases"][DATABASE]["tables"]
    assert [name for name, table in tables.items() if table.get("hidden")] == ["id_blocks", "_sqlite_migrations"]


@pytest.mark.parametrize("query", READY_QUERIES, ids=lambda query: query.name)
def test_every_ready_query_runs_with_its_form_left_empty(query: ReadyQuery, connection: sqlite3.Connection) -> None:
    """A click on its name is enough: no parameter has to be known first."""
    connection.execute(query.sql, dict.fromkeys(query.parameters, "")).fetchall()


@pytest.mark.parametrize("query", READY_QUERIES, ids=lambda query: query.name)
def test_no_ready_query_shares_a_name_with_a_table(query: ReadyQuery) -> None:
    """It would hide that table: both have the same address."""
    assert query.name not in {one.name for one in table_texts()}


def test_an_empty_run_is_the_newest_and_a_beginning_is_enough(connection: sqlite3.Connection) -> None:
    """The `run` field takes what the command line takes."""
    # Given a query that lists scored trials, and only the older run has one
    query = ready_query("worst_trials")
    assert query is not None

    def trials(run: str) -> list[str]:
        return [row["trial_id"] for row in connection.execute(query.sql, {"run": run, "model": ""})]

    # Then nothing of the older run stands under the newest, and it is found by its name
    assert trials("") == []
    assert trials("r1") == ["r1/m-big/0"]
    assert trials("r") == []
    assert trials("%") == []


def test_the_guide_lists_every_ready_query_with_its_parameters() -> None:
    """docs/browse.md has them all, in their order."""
    guide = (DOCUMENT.parent / "browse.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| ([\w, ]*) ?\|", guide, flags=re.M)
    assert [(name, parameters.strip()) for name, parameters in listed] == [
        (query.name, ", ".join(query.parameters)) for query in READY_QUERIES
    ]


def test_a_name_that_no_query_has_is_none() -> None:
    """Pages of tables ask as well."""
    assert ready_query("trials") is None
    assert ready_query(None) is None
