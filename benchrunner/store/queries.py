"""What people and programs ask of runs.db, answered over a read-only connection; nothing here can change a run."""

from __future__ import annotations

import difflib
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Self

from benchrunner.errors import StoreError
from benchrunner.records import KeyEvent, RunRecord, Shard, Task, Trial
from benchrunner.store.answers import (
    CallCount,
    ConditionRow,
    KeyRow,
    LeaseRow,
    LossRow,
    ResultRow,
    RunRow,
    ScoredMark,
    ShardRow,
    Traffic,
    TrialRow,
)
from benchrunner.store.conditions import read_conditions
from benchrunner.store.connection import connect_reader, store_errors
from benchrunner.store.from_rows import (
    ended_trial_from_row,
    key_event_from_row,
    result_from_row,
    run_from_row,
    shard_from_row,
    task_from_row,
    trial_from_row,
)
from benchrunner.store.overlaps import most_labels_at_once
from benchrunner.store.run_list import newest_unfinished_id, read_run, read_runs, resolve_run, some_of
from benchrunner.store.traffic import read_makespan_s, read_traffic

_SCORED = """
SELECT model, prompt, difficulty, tool_success_rate, task_id, level, workflow_score, phase2_score, error_class
FROM trials WHERE run_id = ? AND status = 'scored'
"""

_ENDED_TRIALS = """
SELECT trials.*, tasks.body AS task_body
FROM trials JOIN tasks USING (run_id, task_id, difficulty)
WHERE trials.run_id = ? AND trials.status IN ('scored', 'invalid') ORDER BY trials.rowid
"""

_ENDED_TRIAL = """
SELECT trials.*, tasks.body AS task_body
FROM trials JOIN tasks USING (run_id, task_id, difficulty)
WHERE trials.run_id = :run AND trials.id IN (:trial, :run || '/' || :trial)
      AND trials.status IN ('scored', 'invalid')
"""

# Named one by one: transcripts are most of the table, and stay where they are.
_RESULTS = """
SELECT id, model, prompt, difficulty, tool_success_rate, task_id, task_type, instance, status, level, final_score,
       error_class
FROM trials WHERE run_id = ? ORDER BY rowid
"""


class RunReader:
    """Answers questions about runs. Belongs to the thread that opened it; reads while a run is being written."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Return a reader on an existing runs.db. Raises StoreError."""
        path = Path(path)
        return cls(path, connect_reader(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def list_runs(self, limit: int = -1) -> tuple[RunRow, ...]:
        """Return the runs, newest first; at most `limit`, all when it is negative."""
        return read_runs(self._all, self.path, limit)

    def find_run(self, reference: str | None = None, *, count_calls: bool = True) -> RunRow:
        """Return the run that `reference` names: its id, an unambiguous beginning of it, or the newest (None).

        Raises StoreError, with the ids that come nearest, when it names none or several. `count_calls` False spares a
        pass over the calls for those who count them anyway: `calls` and `refused` read 0.
        """
        run_id = self.find_run_id(reference)
        return read_run(self._all, self.path, run_id, count_calls=count_calls)

    def find_run_id(self, reference: str | None = None) -> str:
        """Return the id of the run that `reference` names, as `find_run` finds it, without counting anything."""
        return resolve_run(self._all, self.path, reference)

    def newest_unfinished(self) -> str | None:
        """Return the id of the newest run that is not complete, None when there is none: what `resume` goes on with."""
        return newest_unfinished_id(self._all)

    def run_record(self, run_id: str) -> RunRecord:
        """Return the run as it was planned, its config included. Raises StoreError."""
        found = self._all("SELECT * FROM runs WHERE id = ?", run_id)
        if not found:
            raise StoreError(f"there is no run {run_id} in {self.path}")
        return run_from_row(found[0])

    def shards(self, run_id: str) -> tuple[Shard, ...]:
        """Return the run's shards in order, each with all its trials."""
        members: defaultdict[str, list[str]] = defaultdict(list)
        for row in self._all("SELECT id, shard_id FROM trials WHERE run_id = ? ORDER BY rowid", run_id):
            members[row["shard_id"]].append(row["id"])
        found = self._all("SELECT * FROM shards WHERE run_id = ? ORDER BY position, rowid", run_id)
        return tuple(shard_from_row(row, tuple(members[row["id"]])) for row in found)

    def tasks(self, run_id: str) -> tuple[Task, ...]:
        """Return the tasks of the run, in the order they were planned."""
        return tuple(map(task_from_row, self._all("SELECT * FROM tasks WHERE run_id = ? ORDER BY rowid", run_id)))

    def trials(self, run_id: str) -> tuple[Trial, ...]:
        """Return all trials of the run, in the order they were planned."""
        found = self._all("SELECT * FROM trials WHERE run_id = ? ORDER BY rowid", run_id)
        return tuple(map(trial_from_row, found))

    def unfinished_trials(self, run_id: str) -> tuple[Trial, ...]:
        """Return the trials nobody has scored (pending, running or invalid), in the order they were planned."""
        found = self._all("SELECT * FROM trials WHERE run_id = ? AND status <> 'scored' ORDER BY rowid", run_id)
        return tuple(map(trial_from_row, found))

    def ended_trials(self, run_id: str) -> Iterator[TrialRow]:
        """Yield the scored and invalid trials in the order they were planned, one by one: transcripts are long."""
        with self._errors():
            found = self._connection.execute(_ENDED_TRIALS, (run_id,))
            yield from map(ended_trial_from_row, found)

    def ended_trial(self, run_id: str, trial_id: str) -> TrialRow:
        """Return one scored or invalid trial of the run, by its id or the end of it. Raises StoreError."""
        found = self._all(_ENDED_TRIAL, {"run": run_id, "trial": trial_id})
        if found:
            return ended_trial_from_row(found[0])
        known = self._all("SELECT id, status FROM trials WHERE run_id = ? ORDER BY rowid", run_id)
        by_id = {row["id"].removeprefix(f"{run_id}/"): row["status"] for row in known}
        short = trial_id.removeprefix(f"{run_id}/")
        if short in by_id:
            raise StoreError(f"trial {short} of run {run_id} is {by_id[short]}; it has no result yet")
        near = difflib.get_close_matches(short, by_id, n=3, cutoff=0.0)
        raise StoreError(f"run {run_id} has no trial {trial_id!r}; nearest: {some_of(near)}")

    def results(self, run_id: str) -> Iterator[ResultRow]:
        """Yield how each trial of the run stands, in the order they were planned."""
        with self._errors():
            found = self._connection.execute(_RESULTS, (run_id,))
            yield from map(result_from_row, found)

    def condition_rows(self, run_id: str) -> tuple[ConditionRow, ...]:
        """Return one row per condition, in the order they were planned."""
        return read_conditions(self._all, run_id, by_task_type=False)

    def task_type_rows(self, run_id: str) -> tuple[ConditionRow, ...]:
        """Return one row per condition and task type, in the order they were planned."""
        return read_conditions(self._all, run_id, by_task_type=True)

    def call_counts(self, run_id: str) -> tuple[CallCount, ...]:
        """Return how many attempts ended how, per key and model."""
        found = self._all(
            "SELECT key_id, model, outcome, count(*) AS calls FROM calls WHERE run_id = ? "
            "GROUP BY key_id, model, outcome ORDER BY key_id, model, outcome",
            run_id,
        )
        return tuple(CallCount(**dict(row)) for row in found)

    def key_rows(self, run_id: str) -> tuple[KeyRow, ...]:
        """Return one row per key that any call of the run was sent with, by key id."""
        return tuple(key.row for key in self.traffic(run_id).keys)

    def traffic(self, run_id: str) -> Traffic:
        """Return what the calls of a run say of its keys: rows, faults, every instant of sending; and the makespan."""
        return read_traffic(self._all, run_id)

    def scored_marks(self, run_id: str) -> Iterator[ScoredMark]:
        """Yield what each scored trial is worth, without its transcript."""
        with self._errors():
            yield from map(ScoredMark._make, self._connection.execute(_SCORED, (run_id,)))

    def makespan_s(self, run_id: str) -> float | None:
        """Return seconds from the first request to the last reply, None before there is one.

        A resumed run counts from its first sitting to its last.
        """
        return read_makespan_s(self._all, run_id)

    def shard_rows(self, run_id: str) -> tuple[ShardRow, ...]:
        """Return the run's shards as they stand, in order."""
        found = self._all(
            "SELECT id AS shard_id, position, model, label, key_id, trials, status, started_at, ended_at "
            "FROM shards WHERE run_id = ? ORDER BY position, rowid",
            run_id,
        )
        return tuple(ShardRow(**dict(row)) for row in found)

    def lease_rows(self, run_id: str) -> tuple[LeaseRow, ...]:
        """Return the run's leases in the order they were granted."""
        found = self._all(
            "SELECT leases.shard_id, shards.model, leases.key_id, worker_pid, fence, granted_at, released_at, reason "
            "FROM leases JOIN shards ON shards.id = leases.shard_id WHERE leases.run_id = ? ORDER BY leases.id",
            run_id,
        )
        return tuple(LeaseRow(**dict(row)) for row in found)

    def key_events(self, run_id: str) -> tuple[KeyEvent, ...]:
        """Return what happened to keys and domains during the run, in order."""
        found = self._all("SELECT * FROM key_events WHERE run_id = ? ORDER BY id", run_id)
        return tuple(map(key_event_from_row, found))

    def losses(self, run_id: str) -> tuple[LossRow, ...]:
        """Return how many trials each infrastructure cause made invalid, per model, the worst first."""
        found = self._all(
            "SELECT model, cause, trials FROM lost_to_infrastructure WHERE run_id = ? "
            "ORDER BY trials DESC, model, cause",
            run_id,
        )
        return tuple(LossRow(**dict(row)) for row in found)

    def most_models_at_once(self, run_id: str) -> dict[str, int]:
        """Return, per key, the most different models that had a request in flight on it at one instant.

        A request is in flight from `sent_at` for `latency_s`, both ends included; one without an end is left out.
        """
        spans: defaultdict[str, list[tuple[float, float, str]]] = defaultdict(list)
        with self._errors():
            for key_id, model, sent_at, latency_s in self._connection.execute(
                "SELECT key_id, model, sent_at, latency_s FROM calls WHERE run_id = ? AND latency_s IS NOT NULL",
                (run_id,),
            ):
                start_s = datetime.fromisoformat(sent_at).timestamp()
                spans[key_id].append((start_s, start_s + latency_s, model))
        return {key_id: most_labels_at_once(spans[key_id]) for key_id in sorted(spans)}

    def _all(self, sql: str, *parameters: object) -> list[sqlite3.Row]:
        bound = parameters[0] if parameters and isinstance(parameters[0], dict) else parameters
        with self._errors():
            return self._connection.execute(sql, bound).fetchall()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with store_errors(self.path, "read"):
            yield
