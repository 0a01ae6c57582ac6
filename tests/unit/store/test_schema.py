"""The schema against what relies on it: the closed sets of records.py, the contract, and docs/database.md."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benchrunner.records import SENT, Level, Outcome, RunStatus, TrialStatus
from benchrunner.store import migrations
from benchrunner.store.schema import MIGRATION_NAMES, TABLES, VIEWS
from benchrunner.store.writer import RunWriter

DOCUMENT = Path(__file__).parents[3] / "docs" / "database.md"


@pytest.fixture
def columns(database: Path) -> dict[str, list[str]]:
    """Return the columns of every table and view the migrations build, by name."""
    RunWriter.open(database).close()
    with closing(sqlite3.connect(database)) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND substr(name, 1, 7) <> '_sqlite'"
        ).fetchall()
        return {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for (name,) in names}


def test_every_table_view_and_column_is_documented_in_order(columns: dict[str, list[str]]) -> None:
    """docs/database.md lists what the migrations build: nothing missing, nothing made up."""
    # Given the document's headings and the first cells of their tables
    documented: dict[str, list[str]] = {}
    for line in DOCUMENT.read_text().splitlines():
        if heading := re.fullmatch(r"### `(\w+)`", line):
            documented[heading[1]] = []
        elif cell := re.match(r"\| `(\w+)` \|", line):
            documented[list(documented)[-1]].append(cell[1])
    # Then they are the schema
    assert documented == columns


def test_the_names_other_rooms_rely_on_are_the_ones_built(columns: dict[str, list[str]]) -> None:
    """schema.py lists the tables and views it builds, and the migrations it has."""
    assert set(TABLES) | set(VIEWS) == set(columns)
    assert tuple(step.name for step in migrations.migrations._migrations) == MIGRATION_NAMES


@pytest.mark.parametrize(
    ("table", "column", "values"),
    [
        ("runs", "status", set(RunStatus)),
        ("trials", "status", set(TrialStatus)),
        ("trials", "level", set(Level)),
        ("calls", "outcome", {SENT, *Outcome}),
    ],
)
def test_the_database_accepts_exactly_the_values_of_the_enum(
    columns: dict[str, list[str]], database: Path, table: str, column: str, values: set[str]
) -> None:
    """A closed set of records.py is the same closed set in the file."""
    # Given the CHECK of the column
    with closing(sqlite3.connect(database)) as connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    accepted = re.search(rf"{column} IN \(([^)]*)\)", sql)
    # Then it lists the enum
    assert accepted is not None
    assert set(re.findall(r"'(\w+)'", accepted[1])) == {str(value) for value in values}


def test_the_contract_of_the_design_is_kept(columns: dict[str, list[str]]) -> None:
    """Tables, views and columns that scripts rely on have exactly these names."""
    contract = {
        "runs": "id batch_id phase policy engine backend seed config_hash config version argv started_at ended_at "
        "status",
        "trials": "id run_id shard_id model task_id task_type prompt difficulty tool_success_rate instance status "
        "level workflow_score phase2_score quality_score final_score error_class turns tool_calls started_at ended_at "
        "transcript",
        "calls": "run_id trial_id turn attempt key_id model deployment outcome http_status provider_code sent_at "
        "wait_window_s backoff_s latency_s prompt_tokens completion_tokens finish_reason retry_after_s",
        "leases": "run_id shard_id key_id worker_pid fence granted_at released_at reason",
        "key_events": "run_id key_id domain at kind detail",
        "phase_summary": "planned scored invalid",
        "key_load": "run_id key_id second requests refused",
        "lost_to_infrastructure": "run_id model cause trials",
        "unfinished": "run_id trial_id status",
    }
    missing = {name: sorted(set(listed.split()) - set(columns[name])) for name, listed in contract.items()}
    assert missing == {name: [] for name in contract}


def test_a_migration_outside_a_transaction_is_refused() -> None:
    """Two invocations would build the schema twice."""
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(ValueError, match="open transaction"):
        migrations.migrate(connection)
