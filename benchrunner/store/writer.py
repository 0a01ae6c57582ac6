"""The single writer of runs.db: the supervisor hands it batches of facts, each batch is one transaction.

A batch is kept whole or not at all, so after a StoreError the caller may hand in the same batch again. Rows go in by
`executemany`, one lane a table; the order of two events matters only within a lane, and there it is kept.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchrunner.errors import StoreError
from benchrunner.records import RunEnded, RunRecord, Shard, StoreEvent, Task, Trial, TrialDone
from benchrunner.store import rows
from benchrunner.store.connection import connect_writer, store_errors
from benchrunner.store.lanes import apply_batch
from benchrunner.store.ownership import FileLock, holder_pid, run_lock_path
from benchrunner.store.schema import CALL_ID_BITS


class RunWriter:
    """Writes runs.db. One per supervisor; its threads may share it. Other invocations may have theirs on the file."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.ignored_results = 0
        """Results that came for a trial already scored and were not accepted."""
        self._connection = connection
        self._owned: dict[str, FileLock] = {}
        # Keeps one transaction at a time on the connection, which has no idea of threads.
        self._transaction_lock = threading.Lock()
        # Keeps call ids from being handed out twice. Taken before the transaction lock, never after.
        self._id_lock = threading.Lock()
        self._ids = range(0)
        self._closed = False

    @classmethod
    def open(cls, path: str | Path) -> RunWriter:
        """Return a writer on `path`, made or migrated as needed.

        Raises StoreError, with the file left as it is, when it cannot be written, is damaged, foreign or newer.
        """
        path = Path(path)
        return cls(path, connect_writer(path))

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def next_call_id(self) -> int:
        """Return an id for `CallSent.call_id` that no call in the database has or will have."""
        return self.take_call_ids(1)[0]

    def take_call_ids(self, count: int) -> range:
        """Return `count` consecutive ids, for a worker to spend without asking again. What it leaves is never reused.

        Each block of ids is claimed in the database, so two invocations on one file never meet.
        """
        if not 1 <= count <= 1 << CALL_ID_BITS:
            raise ValueError(f"between 1 and {1 << CALL_ID_BITS} call ids at a time, not {count}")
        with self._id_lock:
            if len(self._ids) < count:
                self._ids = self._claim_block()
            taken, self._ids = self._ids[:count], self._ids[count:]
            return taken

    def add_run(
        self,
        run: RunRecord,
        shards: Sequence[Shard],
        trials: Sequence[Trial],
        tasks: Sequence[Task],
        *,
        forecast_s: float | None = None,
    ) -> None:
        """Record a planned run, whole, and own it until it ends. Raises StoreError.

        `forecast_s`: seconds it is expected to take from its first request to its last reply.
        """
        run_id = run.run_id
        self._own(run_id)
        try:
            with self._transaction("add a run to") as connection:
                connection.execute(rows.INSERT_RUN, rows.run_values(run))
                connection.execute(rows.FORECAST_RUN, (forecast_s, run_id))
                connection.executemany(rows.INSERT_TASK, [rows.task_values(run_id, task) for task in tasks])
                connection.executemany(rows.INSERT_SHARD, [rows.shard_values(run_id, shard) for shard in shards])
                connection.executemany(rows.INSERT_TRIAL, [rows.trial_values(run_id, trial) for trial in trials])
        except BaseException:
            self._disown(run_id)
            raise

    def reopen_run(self, run_id: str, *, at: str, shards: Sequence[Shard] = ()) -> int:
        """Make an unfinished run ready to go on, own it, and return how many of its trials are not scored.

        Trials left running are pending again, leases left open are closed as crashed at `at`. Invalid trials stay
        invalid until they are started again. `shards`, if given, is a new division of the trials that are left; a
        shard with a known id is replaced. Raises StoreError for an unknown or complete run, and for one that another
        process drives.
        """
        self._own(run_id)
        try:
            with self._transaction("resume a run in") as connection:
                return _reopen(connection, run_id, at, shards)
        except BaseException:
            self._disown(run_id)
            raise

    def record(self, events: Sequence[StoreEvent]) -> tuple[StoreEvent, ...]:
        """Record a batch in one transaction and return the events that came too late to count.

        Too late are a result for a trial already scored, a second end of a call, and the release of a lease that is
        not open: a worker that lost its lease may still speak. An event about something the database does not hold
        raises StoreError, as a full disk does; then nothing of the batch is kept.
        """
        if not events:
            return ()
        with self._transaction("record results in") as connection:
            late = apply_batch(connection, events)
        self.ignored_results += sum(isinstance(event, TrialDone) for event in late)
        for event in events:
            if isinstance(event, RunEnded):
                self._disown(event.run_id)
        return late

    def close(self) -> None:
        """Fold the log into the file if no reader is in the way, close, and give up the runs still owned.

        A second call does nothing.
        """
        with self._transaction_lock:
            if self._closed:
                return
            self._closed = True
            # The log is folded in by whoever opens the file next; a reader must not delay the end of a run.
            with suppress(sqlite3.OperationalError):
                self._connection.execute("PRAGMA busy_timeout = 200")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._connection.close()
        for run_id in tuple(self._owned):
            self._disown(run_id)

    def _claim_block(self) -> range:
        with self._transaction("claim call ids in") as connection:
            block = connection.execute("INSERT INTO id_blocks DEFAULT VALUES").lastrowid
        assert block is not None, "an INSERT that succeeded has a row id"
        return range(block << CALL_ID_BITS, (block + 1) << CALL_ID_BITS)

    @contextmanager
    def _transaction(self, doing: str) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        with self._transaction_lock, store_errors(self.path, doing):
            # IMMEDIATE: the wait for another invocation happens here, where the busy timeout covers it, and not
            # in the middle, where SQLite answers "locked" at once.
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk has already rolled it back
                    connection.execute("ROLLBACK")
                raise

    def _own(self, run_id: str) -> None:
        path = run_lock_path(self.path, run_id)
        try:
            lock = FileLock.take(path, wait=False)
        except OSError as error:
            raise StoreError(f"cannot lock run {run_id} beside {self.path}: {error.strerror}") from error
        if lock is None:
            raise StoreError(f"run {run_id} is being driven by process {holder_pid(path)}; stop that one first")
        self._owned[run_id] = lock

    def _disown(self, run_id: str) -> None:
        lock = self._owned.pop(run_id, None)
        if lock is not None:
            lock.release()


def _reopen(connection: sqlite3.Connection, run_id: str, at: str, shards: Sequence[Shard]) -> int:
    found = connection.execute("SELECT status FROM runs WHERE id = ?", (run_id,)).fetchone()
    if found is None:
        raise StoreError(f"there is no run {run_id} to resume")
    if found[0] == "complete":
        raise StoreError(f"run {run_id} is complete; there is nothing to resume")
    # A forecast is of a run in one go: with a pause in between there is nothing left to hold it against.
    connection.execute(
        "UPDATE runs SET status = 'running', ended_at = NULL, forecast_s = NULL WHERE id = ?", (run_id,)
    )
    connection.execute(
        "UPDATE trials SET status = 'pending', started_at = NULL WHERE run_id = ? AND status = 'running'", (run_id,)
    )
    connection.execute(
        "UPDATE leases SET released_at = ?, reason = 'crash' WHERE run_id = ? AND released_at IS NULL", (at, run_id)
    )
    for shard in shards:
        connection.execute(rows.REPLACE_SHARD, rows.shard_values(run_id, shard))
        connection.executemany(
            "UPDATE trials SET shard_id = ? WHERE id = ? AND run_id = ? AND status <> 'scored'",
            [(shard.shard_id, trial_id, run_id) for trial_id in shard.trial_ids],
        )
    connection.execute(rows.RECOUNT_SHARDS, (run_id,))
    connection.execute(rows.RESET_SHARDS, (at, run_id))
    (left,) = connection.execute(
        "SELECT count(*) FROM trials WHERE run_id = ? AND status <> 'scored'", (run_id,)
    ).fetchone()
    return int(left)
