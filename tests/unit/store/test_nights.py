"""The nights table: one row a night, the killed ones found, and which run is held against which."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from recorded_run import planned

from benchrunner.records import RunEnded, RunStatus
from benchrunner.store import connection as store_connection
from benchrunner.store.nights import (
    KILLED_REASON,
    Night,
    NightReader,
    NightStatus,
    begin_night,
    night_lock_path,
    record_night,
)
from benchrunner.store.schema import MIGRATION_NAMES
from benchrunner.store.writer import RunWriter

AddRun = Callable[..., str]


def night(number: int, **values: object) -> Night:
    made = Night(
        night_id=f"2025082{number}T020000-night-ab12",
        started_at=f"2025-08-2{number}T02:00:00.000000Z",
        phases=("5.1", "5.2"),
        config_hash="c0ffee",
    )
    return replace(made, **values)  # type: ignore[arg-type]


@pytest.fixture
def add_run(database: Path) -> AddRun:
    """Add a run of the given batch, phase and configuration, ended in the given way."""

    def add(
        run_id: str,
        batch: str,
        *,
        at: int,
        phase: str = "5.1",
        config: str = "same",
        status: RunStatus | None = RunStatus.COMPLETE,
    ) -> str:
        plan = planned()
        run = replace(
            plan.run,
            run_id=run_id,
            batch_id=batch,
            phase=phase,
            config_hash=config,
            started_at=f"2025-08-2{at}T02:01:00.000000Z",
        )
        with RunWriter.open(database) as writer:
            writer.add_run(run, (), (), ())
            if status is not None:
                writer.record([RunEnded(run_id=run_id, status=status, ended_at=f"2025-08-2{at}T03:00:00.000000Z")])
        return run_id

    return add


def test_a_night_is_read_as_it_was_recorded_last(database: Path) -> None:
    """A night has one row, however often it is recorded."""
    # Given a night that began
    first = night(1)
    assert begin_night(database, first) == ()
    # When it is recorded again, with what it came to
    ended = replace(
        first,
        status=NightStatus.REGRESSED,
        ended_at="2025-08-21T04:00:00.000000Z",
        exit_code=4,
        resumed=("r0",),
        compared_with={"r1": "r0"},
        reason="5.1 fell",
    )
    record_night(database, ended)
    # Then that is all there is of it
    with NightReader.open(database) as nights:
        assert nights.nights() == (ended,)


def test_the_next_night_finds_the_killed_one(database: Path) -> None:
    """Nobody but a killed night leaves `running` behind: the next one says so in its row, keeping its reason."""
    # Given a night that found something and then was heard of no more, and one that was skipped meanwhile
    killed = night(1, reason="5.1 fell")
    begin_night(database, killed)
    record_night(database, night(2, status=NightStatus.SKIPPED, exit_code=75))
    # When the next begins
    told = begin_night(database, night(3))
    # Then it is told of the killed one alone, whose row says what became of it
    assert told == (killed,)
    with NightReader.open(database) as nights:
        assert [(one.status, one.reason) for one in nights.nights()] == [
            (NightStatus.RUNNING, ""),
            (NightStatus.SKIPPED, ""),
            (NightStatus.KILLED, f"5.1 fell; {KILLED_REASON}"),
        ]


def test_a_row_can_be_written_while_a_run_is_being_written(database: Path) -> None:
    """A skipped night leaves its row though another process has the database open for writing."""
    with RunWriter.open(database):
        record_night(database, night(1, status=NightStatus.SKIPPED, exit_code=75))
    with NightReader.open(database) as nights:
        assert [one.status for one in nights.nights()] == [NightStatus.SKIPPED]


def test_a_run_is_held_against_the_last_complete_one_of_a_night(database: Path, add_run: AddRun) -> None:
    """Of the same phase and configuration, begun by a night, and before it."""
    # Given two nights with complete runs, and runs that do not count: by hand, unfinished, another phase or config
    for number in (1, 2, 3):
        begin_night(database, night(number))
    add_run("r1", night(1).night_id, at=1)
    add_run("r2", night(2).night_id, at=2)
    add_run("hand", "batch-by-hand", at=3)
    add_run("cut", night(3).night_id, at=3, status=RunStatus.INTERRUPTED)
    add_run("phase", night(3).night_id, at=3, phase="5.2")
    add_run("config", night(3).night_id, at=3, config="other")
    # When tonight's run asks
    begin_night(database, night(4))
    tonight = add_run("r4", night(4).night_id, at=4, status=None)
    add_run("later", night(4).night_id, at=5)
    with NightReader.open(database) as nights:
        before, other = nights.baseline(tonight), nights.baseline(tonight, same_config=False)
    # Then it gets the newest of those that count
    assert before is not None
    assert (before.run_id, before.night_id) == ("r2", night(2).night_id)
    assert other is not None
    assert other.run_id == "config"


def test_the_newest_run_of_a_night_is_what_may_be_gone_on_with(database: Path, add_run: AddRun) -> None:
    """Runs begun by hand are their owner's to resume; an older unfinished run is overtaken by a newer complete one."""
    # Given an unfinished run of one night, a complete one of the next, and an unfinished one by hand
    begin_night(database, night(1))
    begin_night(database, night(2))
    add_run("r1", night(1).night_id, at=1, status=RunStatus.INCOMPLETE)
    add_run("r2", night(2).night_id, at=2)
    add_run("hand", "batch-by-hand", at=3, status=RunStatus.INTERRUPTED)
    # When the newest is asked for
    with NightReader.open(database) as nights:
        newest, none = nights.newest_run("5.1"), nights.newest_run("5.5")
    # Then it is the complete one, and of a phase that no night ran there is none
    assert newest is not None
    assert (newest.run_id, newest.status) == ("r2", RunStatus.COMPLETE)
    assert none is None


def test_one_database_has_one_lock_whatever_path_leads_there(tmp_path: Path) -> None:
    """A symbolic link to the database does not let a second night in."""
    # Given a database and a link to it from another directory
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    database, link = tmp_path / "here" / "runs.db", tmp_path / "there" / "link.db"
    database.touch()
    link.symlink_to(database)
    # Then both have the same lock
    assert night_lock_path(link) == night_lock_path(database) == tmp_path / "here" / "runs.db-nightly.lock"


def test_a_large_database_of_an_older_version_is_no_damaged_one(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file too large to be checked page by page is taken for whole though it lacks tables that are yet to come."""
    # Given a database as the version before nights left it, and every file counted as large
    RunWriter.open(database).close()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TABLE nights")
        connection.execute("DROP INDEX runs_by_batch")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name = ?", (MIGRATION_NAMES[3],))
        connection.commit()
    monkeypatch.setattr(store_connection, "QUICK_CHECK_BYTES", 0)
    # When a night begins on it
    begin_night(database, night(1))
    # Then it is there
    with NightReader.open(database) as nights:
        assert [one.night_id for one in nights.nights()] == [night(1).night_id]
