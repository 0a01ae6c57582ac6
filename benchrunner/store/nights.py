"""The nights of `benchrunner nightly`: a row for each, and which runs are a night's.

A night's runs carry its id as their `batch_id`, and keep it when a later night goes on with them. One process at a
time has a night on a database (`night_lock_path`), so a row that still says `running` when the next night begins is of
a night that was killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self

import orjson

from benchrunner.records import RunStatus
from benchrunner.store.connection import connect_reader, connect_writer, store_errors


class NightStatus(StrEnum):
    """How a night ended."""

    RUNNING = "running"
    COMPLETE = "complete"  # every trial scored, no drop found
    REGRESSED = "regressed"  # every trial scored, a significant drop found
    INCOMPLETE = "incomplete"  # trials invalid or not run, or keys held elsewhere for too long
    NO_KEY = "no_key"  # no usable key left
    INTERRUPTED = "interrupted"  # SIGINT or SIGTERM
    FAILED = "failed"  # a phase could not be run, or a bug
    SKIPPED = "skipped"  # another night held the lock and the wait ran out
    KILLED = "killed"  # ended without a word; the next night found it so


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One night. `compared_with` is by run, the earlier run it was compared with."""

    night_id: str
    started_at: str
    phases: tuple[str, ...]
    config_hash: str  # over the runs' own
    status: NightStatus = NightStatus.RUNNING
    ended_at: str | None = None
    exit_code: int | None = None
    resumed: tuple[str, ...] = ()  # runs of earlier nights that it went on with
    compared_with: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NightRun:
    """A run that some night began."""

    run_id: str
    night_id: str
    phase: str
    config_hash: str
    status: RunStatus


KILLED_REASON = "ended without a word: killed, or the machine went down"


def night_lock_path(database: Path) -> Path:
    """Return where the lock of the night stands: beside the database, whatever link or path led there."""
    real = database.resolve()
    return real.with_name(f"{real.name}-nightly.lock")


def begin_night(database: Path, night: Night) -> tuple[Night, ...]:
    """Record that a night begins and return those before it that were killed, marked as such.

    For the holder of the night's lock only. Raises StoreError.
    """
    with _transaction(database, "begin a night in") as connection:
        found = connection.execute("SELECT * FROM nights WHERE status = 'running' ORDER BY started_at").fetchall()
        connection.execute(
            "UPDATE nights SET status = 'killed', reason = reason || iif(reason = '', '', '; ') || ? "
            "WHERE status = 'running'",
            (KILLED_REASON,),
        )
        _put(connection, night)
    return tuple(map(_night, found))


def record_night(database: Path, night: Night) -> None:
    """Record a night as it stands now, in place of what was recorded of it before. Raises StoreError."""
    with _transaction(database, "record a night in") as connection:
        _put(connection, night)


class NightReader:
    """Answers questions about nights. Belongs to the thread that opened it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return a reader on an existing runs.db. Raises StoreError."""
        return cls(path, connect_reader(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    def nights(self) -> tuple[Night, ...]:
        """Return all nights, newest first."""
        return tuple(map(_night, self._all("SELECT * FROM nights ORDER BY started_at DESC, rowid DESC")))

    def newest_run(self, phase: str) -> NightRun | None:
        """Return the newest run of the phase that any night began, or None."""
        return _run(self._all(f"{_RUNS} WHERE runs.phase = ? {_NEWEST}", phase))

    def baseline(self, run_id: str, *, same_config: bool = True) -> NightRun | None:
        """Return what a night's run is compared with, or None: the last complete run of a night before it.

        Of the same phase, and of the same configuration unless `same_config` is False.
        """
        same = "AND runs.config_hash = mine.config_hash" if same_config else ""
        return _run(
            self._all(
                f"{_RUNS} JOIN runs AS mine ON mine.id = ? WHERE runs.phase = mine.phase AND runs.status = 'complete' "
                f"AND (runs.started_at, runs.rowid) < (mine.started_at, mine.rowid) {same} {_NEWEST}",
                run_id,
            )
        )

    def _all(self, sql: str, *parameters: object) -> list[sqlite3.Row]:
        with store_errors(self.path, "read"):
            return self._connection.execute(sql, parameters).fetchall()


_RUNS = """
SELECT runs.id AS run_id, nights.id AS night_id, runs.phase, runs.config_hash, runs.status
FROM runs JOIN nights ON nights.id = runs.batch_id
"""
_NEWEST = "ORDER BY runs.started_at DESC, runs.rowid DESC LIMIT 1"

_PUT = """
INSERT INTO nights (id, started_at, ended_at, status, exit_code, phases, config_hash, resumed, compared_with, reason)
VALUES (:id, :started_at, :ended_at, :status, :exit_code, :phases, :config_hash, :resumed, :compared_with, :reason)
ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, status = excluded.status, exit_code = excluded.exit_code,
    resumed = excluded.resumed, compared_with = excluded.compared_with, reason = excluded.reason
"""


def _put(connection: sqlite3.Connection, night: Night) -> None:
    connection.execute(
        _PUT,
        {
            "id": night.night_id,
            "started_at": night.started_at,
            "ended_at": night.ended_at,
            "status": night.status.value,
            "exit_code": night.exit_code,
            "phases": orjson.dumps(night.phases).decode(),
            "config_hash": night.config_hash,
            "resumed": orjson.dumps(night.resumed).decode(),
            "compared_with": orjson.dumps(night.compared_with).decode(),
            "reason": night.reason,
        },
    )


def _night(row: sqlite3.Row) -> Night:
    return Night(
        night_id=row["id"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        status=NightStatus(row["status"]),
        exit_code=row["exit_code"],
        phases=tuple(orjson.loads(row["phases"])),
        config_hash=row["config_hash"],
        resumed=tuple(orjson.loads(row["resumed"])),
        compared_with=orjson.loads(row["compared_with"]),
        reason=row["reason"],
    )


def _run(found: list[sqlite3.Row]) -> NightRun | None:
    if not found:
        return None
    values = dict(found[0])
    return NightRun(**(values | {"status": RunStatus(values["status"])}))


@contextmanager
def _transaction(database: Path, doing: str) -> Iterator[sqlite3.Connection]:
    with store_errors(database, doing), closing(connect_writer(database)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
