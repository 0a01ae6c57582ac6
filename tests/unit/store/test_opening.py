"""Opening runs.db: what is refused is refused before anything starts, with a sentence, and left as it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from recorded_run import Planned, scored

from benchrunner.errors import StoreError
from benchrunner.store.history import model_history
from benchrunner.store.ownership import FileLock, holder_pid
from benchrunner.store.queries import RunReader
from benchrunner.store.schema import MIGRATION_NAMES
from benchrunner.store.writer import RunWriter


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE runs (distance_km REAL)")
        connection.commit()


def _newer(path: Path) -> None:
    RunWriter.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('benchrunner', 'm999_x', '')"
        )
        connection.commit()


def _not_a_database(path: Path) -> None:
    path.write_bytes(b"these are my notes, not a database\n" * 200)


def _torn(path: Path) -> None:
    RunWriter.open(path).close()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _scrambled(path: Path) -> None:
    RunWriter.open(path).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))


def _header_only(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00" + b"garbage" * 100)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_foreign, "another program's database"),
        (_newer, r"newer benchrunner \(it holds m999_x"),
        (_not_a_database, "not an SQLite database"),
        (_torn, "damaged"),
        (_scrambled, "damaged"),
        (_header_only, "not an SQLite database|damaged"),
    ],
)
def test_a_file_that_will_not_do_is_refused_and_left_byte_for_byte(
    database: Path, make: Callable[[Path], None], says: str
) -> None:
    """The sentence names the file and what is wrong; not a byte changes and nothing new lies beside it."""
    # Given a file that is no runs.db of ours
    make(database)
    before = database.read_bytes()
    # When a run would write it
    with pytest.raises(StoreError, match=says) as refused:
        RunWriter.open(database)
    # Then it is as it was
    assert str(database) in str(refused.value)
    assert database.read_bytes() == before
    assert [path.name for path in database.parent.iterdir() if path.suffix == ".lock"] == []


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """Nothing is made on the way to a file that cannot be made."""
    # Given a path through a directory that is not there
    # When a run would write it
    with pytest.raises(StoreError, match="there is no directory"):
        RunWriter.open(tmp_path / "nowhere" / "runs.db")
    # Then it is still not there
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    """A path that is a directory is a sentence."""
    with pytest.raises(StoreError, match="it is not a file"):
        RunWriter.open(tmp_path)


def test_reading_what_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    """A reader never makes a file."""
    with pytest.raises(StoreError, match="there is no run database"):
        RunReader.open(tmp_path / "runs.db")
    assert list(tmp_path.iterdir()) == []


def test_reading_a_file_without_runs_says_so(database: Path) -> None:
    """An empty file is a database to SQLite, not to us."""
    database.touch()
    with pytest.raises(StoreError, match="holds no runs yet"):
        RunReader.open(database)


def test_an_empty_file_becomes_a_database(database: Path) -> None:
    """`touch runs.db` is as good as no file."""
    database.touch()
    with RunWriter.open(database) as writer:
        assert writer.next_call_id() > 0


def test_a_readonly_database_is_refused_before_a_run(writer: RunWriter, plan: Planned, database: Path) -> None:
    """What SQLite opens but would not let us write is told when opening, not at the first result."""
    # Given a writer whose connection may not write
    writer._connection.execute("PRAGMA query_only = ON")
    # When it records
    with pytest.raises(StoreError, match="may not be written"):
        writer.record([scored(plan.trials[0])])
    # Then it is a sentence, and the batch goes in once it may
    writer._connection.execute("PRAGMA query_only = OFF")
    assert writer.record([scored(plan.trials[0])]) == ()


def test_the_connection_keeps_its_promises(writer: RunWriter) -> None:
    """Foreign keys, the write-ahead log, a patient busy timeout and durable-enough commits are all on."""
    pragmas = ("foreign_keys", "journal_mode", "busy_timeout", "synchronous")
    values = [writer._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
    assert values == [1, "wal", 5_000, 1]


def test_a_reader_cannot_write(writer: RunWriter, plan: Planned, database: Path) -> None:
    """Reading commands can do no harm, whatever SQL they are given."""
    with RunReader.open(database) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM trials")


def test_closing_leaves_one_file(database: Path, plan: Planned, writer: RunWriter) -> None:
    """The log is folded in: what is copied away is the file alone."""
    writer.close()
    assert [path.name for path in database.parent.iterdir()] == ["runs.db"]


def test_history_of_a_file_that_is_not_there_is_empty(database: Path) -> None:
    """Planning the first run ever needs no database."""
    assert model_history(database, ["m-big"], backend="live") == {}


def test_a_lock_is_exclusive_and_names_its_holder(tmp_path: Path) -> None:
    """Who has the file lock has it alone; letting go removes the file."""
    # Given a lock
    path = tmp_path / "x.lock"
    lock = FileLock.take(path, wait=False)
    assert lock is not None
    # When another asks
    # Then it gets none, and can learn from whom
    assert FileLock.take(path, wait=False) is None
    assert int(holder_pid(path)) > 0
    # And after release it is free
    lock.release()
    lock.release()
    assert not path.exists()
    assert holder_pid(path) == "unknown"


def test_a_plan_is_listed_once_the_file_is_opened_again(database: Path, plan: Planned, writer: RunWriter) -> None:
    """A second opening finds the schema done and keeps what is there."""
    writer.close()
    with RunWriter.open(database), RunReader.open(database) as reader:
        assert reader.find_run().planned == len(plan.trials)


def test_a_database_of_an_older_version_stays_readable(writer: RunWriter, plan: Planned, database: Path) -> None:
    """What an older version kept is brought up to date by whoever opens it first, a reader too; no run is lost."""
    # Given a database as the version before bounds and nights left it
    writer.close()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP VIEW phase_summary")
        connection.execute("CREATE VIEW phase_summary AS SELECT run_id FROM trials")
        connection.execute("DROP TABLE nights")
        connection.execute("DROP INDEX runs_by_batch")
        connection.executemany("DELETE FROM _sqlite_migrations WHERE name = ?", [(n,) for n in MIGRATION_NAMES[2:]])
        connection.commit()
    # When it is read
    with RunReader.open(database) as reader:
        runs = reader.list_runs()
    # Then its runs are there, and the schema is this version's
    assert [run.run_id for run in runs] == [plan.run.run_id]
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("SELECT success_worst, success_best FROM phase_summary").fetchall()
        assert connection.execute("SELECT * FROM nights").fetchall() == []
