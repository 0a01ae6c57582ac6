"""A runs.db in a temporary directory, its writer open, one planned run in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from recorded_run import Ask, Planned, planned

from benchrunner.store.writer import RunWriter


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return where the database will stand."""
    return tmp_path / "runs.db"


@pytest.fixture
def writer(database: Path) -> Iterator[RunWriter]:
    """Return an open writer; on the way out every row still obeys the schema."""
    with RunWriter.open(database) as opened:
        yield opened
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert list(database.parent.glob("*.lock")) == []


@pytest.fixture
def plan(writer: RunWriter) -> Planned:
    """Return a planned run that the database already holds."""
    made = planned()
    writer.add_run(made.run, made.shards, made.trials, made.tasks)
    return made


@pytest.fixture
def ask(database: Path) -> Ask:
    """Return a function that asks the database in SQL, over a connection of its own."""

    def ask_sql(sql: str, *parameters: object) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(database)) as connection:
            return connection.execute(sql, parameters).fetchall()

    return ask_sql
