"""Opens runs.db for its writer and for readers, and turns what SQLite says into sentences.

Every check that can be made without writing is made on a read-only connection first: a file that is refused is left
byte for byte as it was.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchrunner.errors import StoreError
from benchrunner.store.ownership import FileLock
from benchrunner.store.schema import MIGRATION_NAMES, MIGRATION_SET, TABLES

WRITER_BUSY_S = 5.0
"""How long the writer waits for another invocation's transaction, which lasts milliseconds.

No longer: the supervisor's one thread waits in here, and it has signals and dead workers to mind. What is locked for
longer it tries again, with no call leaving meanwhile.
"""
READER_BUSY_S = 5.0
QUICK_CHECK_BYTES = 16 * 2**20
"""Files up to this size are checked page by page before a run starts on them: under 50 ms."""

_SENTENCES = {
    "SQLITE_NOTADB": "it is not an SQLite database; move it away or name another file with --db",
    "SQLITE_CORRUPT": "the database is damaged; move it away (`sqlite3 FILE .recover` may save rows)",
    "SQLITE_FULL": "the disk is full; what was being written was rolled back",
    "SQLITE_READONLY": "it may not be written; check the rights of the file and of its directory",
    "SQLITE_BUSY": "another process kept it locked for too long",
    "SQLITE_CANTOPEN": "it cannot be opened; check the path and the rights of its directory",
    "SQLITE_IOERR": "the disk reported an error",
}


@contextmanager
def store_errors(path: Path, doing: str) -> Iterator[None]:
    """Raise StoreError, with the file, what was being done and SQLite's words, for whatever SQLite raises inside."""
    try:
        yield
    except (sqlite3.Error, OverflowError) as error:
        raise StoreError(f"cannot {doing} {path}: {_sentence(error)}") from error


def _sentence(error: Exception) -> str:
    name = getattr(error, "sqlite_errorname", None) or ""
    for code, sentence in _SENTENCES.items():
        # The extended codes begin with the plain one: SQLITE_READONLY_DBMOVED, SQLITE_IOERR_WRITE.
        if name == code or name.startswith(code + "_"):
            return f"{sentence} ({error})"
    return str(error)


def applied_migrations(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return the names of our migrations the file holds, oldest first; () for a file that holds none."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_sqlite_migrations'")
    if known.fetchone() is None:
        return ()
    rows = connection.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = ?", (MIGRATION_SET,))
    return tuple(name for (name,) in rows)


def _refuse_other_schemas(connection: sqlite3.Connection, path: Path) -> tuple[str, ...]:
    """Return the applied migrations. Raises StoreError for a newer schema, or tables of ours that we did not make."""
    applied = applied_migrations(connection)
    newer = sorted(set(applied) - set(MIGRATION_NAMES))
    if newer:
        raise StoreError(
            f"{path} was written by a newer benchrunner (it holds {', '.join(newer)}, this version knows up to "
            f"{MIGRATION_NAMES[-1]}); upgrade benchrunner or name another file with --db"
        )
    if not applied:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        taken = sorted(names & set(TABLES))
        if taken:
            raise StoreError(
                f"{path} is another program's database (it already has {', '.join(taken)}); name another file with --db"
            )
    return applied


def _connect(path: Path, mode: str, busy_s: float, *, shared: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=busy_s,
        isolation_level=None,  # transactions are begun by name, never behind our back
        check_same_thread=not shared,
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Return a read-only connection to a runs.db of this version, rows by name.

    Raises StoreError when there is none, when it is damaged, or of another version.
    """
    if not path.is_file():
        raise StoreError(f"there is no run database at {path}; `benchrunner phase` makes one, --db names another")
    with store_errors(path, "read"):
        connection = _open_for_reading(path)
        try:
            applied = _refuse_other_schemas(connection, path)
            if not applied:
                raise StoreError(f"{path} holds no runs yet; `benchrunner phase` makes one")
            if applied != MIGRATION_NAMES:
                # An older version's: what it holds must stay readable, so it is brought up to date, as a run would.
                connection.close()
                connect_writer(path).close()
                connection = _open_for_reading(path)
            connection.row_factory = sqlite3.Row
        except BaseException:
            connection.close()
            raise
    return connection


def _open_for_reading(path: Path) -> sqlite3.Connection:
    connection = _connect(path, "ro", READER_BUSY_S)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        # A WAL database in a directory we may not write (an archive, another user's results) has no index file and
        # may get none. With no log beside it nobody is writing, and the file alone is the whole truth.
        wal = path.with_name(path.name + "-wal")
        barred = error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY"))
        if not barred or wal.exists() or os.access(path.parent, os.W_OK):
            raise
        return _connect(path, "ro&immutable=1", READER_BUSY_S)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_writer(path: Path) -> sqlite3.Connection:
    """Return a connection that may write, on an up-to-date schema; the file is made when there is none.

    Everything that can be wrong is said here, before any call is sent. Raises StoreError and leaves the file as it is
    when the directory is missing or not writable, when the file is damaged, foreign, newer or read-only.
    """
    if not path.parent.is_dir():
        raise StoreError(f"cannot make {path}: there is no directory {path.parent}")
    if path.exists() and not path.is_file():
        raise StoreError(f"cannot write {path}: it is not a file")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise StoreError(
            f"cannot write {path}: the directory {path.parent} is not writable, and SQLite keeps its log there"
        )
    # Two invocations that meet on a new file: one switches it to WAL and builds the schema, the other finds it done.
    # SQLite's own busy timeout does not cover the switch.
    try:
        lock = FileLock.take(path.with_name(path.name + "-open.lock"), wait=True)
    except OSError as error:
        raise StoreError(f"cannot write beside {path}: {error.strerror}") from error
    assert lock is not None, "a waiting take returns a lock"
    try:
        if path.exists() and path.stat().st_size > 0:
            _inspect(path)
        return _prepare(path)
    finally:
        lock.release()


def _inspect(path: Path) -> None:
    with store_errors(path, "use"), closing(_connect(path, "ro", WRITER_BUSY_S)) as connection:
        applied = _refuse_other_schemas(connection, path)
        if path.stat().st_size <= QUICK_CHECK_BYTES:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise StoreError(f"cannot use {path}: the database is damaged ({verdict}); move it away")
        elif applied:
            # The last page of each table: a file that was cut short lacks it. An older version's has fewer tables.
            present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table in present.intersection(TABLES):
                connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()


def _prepare(path: Path) -> sqlite3.Connection:
    with store_errors(path, "write"):
        connection = _connect(path, "rwc", WRITER_BUSY_S, shared=True)
        try:
            # A read-only file lets a transaction begin and refuses only the first change, so one is made and undone.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE benchrunner_may_write (yes)")
            connection.execute("ROLLBACK")
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StoreError(
                    f"cannot write {path}: its file system has no shared memory for SQLite's log (journal mode stayed "
                    f"{mode}); put the database on a local disk"
                )
            # With WAL, NORMAL loses nothing when a process dies; only a power cut may take the last commits.
            connection.execute("PRAGMA synchronous = NORMAL")
            if applied_migrations(connection) != MIGRATION_NAMES:
                _migrate(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    # Only here: sqlite-utils costs a tenth of a second to import, and a database is migrated once.
    from benchrunner.store.migrations import migrate

    connection.execute("BEGIN IMMEDIATE")
    try:
        migrate(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
