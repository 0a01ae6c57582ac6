"""What an audit asks of runs.db: a run's rows as they stand, without the views that sum them up."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchrunner.records import SENT, Level, RunRecord, Task, Trial, TrialScore
from benchrunner.store import from_rows as rows
from benchrunner.store.queries import RunReader
from benchrunner.store.schema import CALL_ID_BITS

_SCORED = """
SELECT trials.*, tasks.body AS task_body, tasks.task_type AS tasks_type
FROM trials LEFT JOIN tasks USING (run_id, task_id, difficulty)
WHERE trials.run_id = ? AND trials.status = 'scored' ORDER BY trials.rowid
"""

# A `sent` row has no exact departure: nobody knows when, or whether, it left.
# All instants in one text: a million rows of one value each take four times as long to come over.
_SENDS = f"""
SELECT key_id, model, id >> {CALL_ID_BITS} AS sitting,
       group_concat(sent_at, ' ') AS sent_at,
       group_concat(coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0), ' ') AS tokens
FROM calls WHERE run_id = ? AND outcome <> '{SENT}' AND sent_at >= ? AND sent_at <= ?
GROUP BY key_id, model, sitting
"""

_MEANWHILE = """
SELECT * FROM runs
WHERE id <> :run AND backend = 'live' AND started_at <= :last AND coalesce(ended_at, :first) >= :first
"""

_REPEATED = """
SELECT model, prompt, difficulty, tool_success_rate, task_id, instance, count(*) AS times, min(id) AS one
FROM trials WHERE run_id = ? AND status = 'scored'
GROUP BY model, prompt, difficulty, tool_success_rate, task_id, instance HAVING count(*) > 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredTrial:
    """A scored trial as it stands. `task` None: its task is not in the database."""

    trial: Trial
    task: Task | None
    score: TrialScore


@dataclass(frozen=True, slots=True, kw_only=True)
class Sends:
    """When the requests of one key and model left, and the tokens of each: texts of equal length, parted by spaces.

    `sitting` tells apart the times a run was started or resumed. In no order.
    """

    key_id: str
    model: str
    sitting: int
    sent_at: str
    tokens: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCount:
    """How many trials of one condition and task type there are, and how many of them are scored."""

    model: str
    prompt: str
    difficulty: str
    tool_success_rate: float
    task_type: str
    trials: int
    scored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardCount:
    """A shard's own count of its trials, and how many name it."""

    shard_id: str
    stated: int
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanRow:
    """A row whose foreign key points nowhere."""

    table: str
    rowid: int | None
    parent: str


CallLine = tuple[str, int, int, str]
"""A call as the order of a dialogue is read from it: trial, turn, attempt, outcome."""


class AuditReader(RunReader):
    """Answers what an audit asks. Reads only."""

    @contextmanager
    def at_one_instant(self) -> Iterator[None]:
        """Let everything that is asked inside be answered from the same state of the database, whoever writes on."""
        with self._errors():
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")

    def scored_trials(self, run_id: str) -> Iterator[ScoredTrial]:
        """Yield the scored trials in the order they were planned, one by one: transcripts are long."""
        with self._errors():
            for row in self._connection.execute(_SCORED, (run_id,)):
                yield _scored_trial(row)

    def call_lines(self, run_id: str) -> Iterator[CallLine]:
        """Yield the run's calls in the order they were announced."""
        with self._errors():
            cursor = self._connection.cursor()
            cursor.row_factory = None  # plain tuples: a million of them
            yield from cursor.execute(
                "SELECT trial_id, turn, attempt, outcome FROM calls WHERE run_id = ? ORDER BY id", (run_id,)
            )

    def sends(self, run_id: str, first_at: str = "", last_at: str = "~") -> tuple[Sends, ...]:
        """Return when the run's requests left, those between two instants; those whose end nobody saw are left out."""
        return tuple(Sends(**dict(row)) for row in self._all(_SENDS, run_id, first_at, last_at))

    def unended_calls(self, run_id: str) -> int:
        """Return how many calls were announced and have no end: a kill came in between."""
        (row,) = self._all("SELECT count(*) AS calls FROM calls WHERE run_id = ? AND outcome = ?", run_id, SENT)
        return int(row["calls"])

    def live_runs_meanwhile(self, run_id: str, first_at: str, last_at: str) -> tuple[RunRecord, ...]:
        """Return the other live runs of the database that may have sent between two instants."""
        parameters = {"run": run_id, "first": first_at, "last": last_at}
        return tuple(map(rows.run_from_row, self._all(_MEANWHILE, parameters)))

    def cell_counts(self, run_id: str) -> tuple[CellCount, ...]:
        """Return how many trials each condition and task type has."""
        found = self._all(
            "SELECT model, prompt, difficulty, tool_success_rate, task_type, count(*) AS trials, "
            "sum(status = 'scored') AS scored FROM trials WHERE run_id = ? GROUP BY 1, 2, 3, 4, 5",
            run_id,
        )
        return tuple(CellCount(**dict(row)) for row in found)

    def shard_counts(self, run_id: str) -> tuple[ShardCount, ...]:
        """Return each shard's own count of its trials beside the trials that name it."""
        found = self._all(
            "SELECT id AS shard_id, trials AS stated, "
            "(SELECT count(*) FROM trials WHERE trials.shard_id = shards.id) AS trials "
            "FROM shards WHERE run_id = ? ORDER BY position, rowid",
            run_id,
        )
        return tuple(ShardCount(**dict(row)) for row in found)

    def repeated_trials(self, run_id: str) -> tuple[tuple[str, int], ...]:
        """Return, by one of their ids, the trial identities with more than one accepted result, and how many."""
        return tuple((row["one"], row["times"]) for row in self._all(_REPEATED, run_id))

    def orphan_rows(self) -> tuple[OrphanRow, ...]:
        """Return the rows of the whole database whose foreign keys point nowhere."""
        found = self._all("PRAGMA foreign_key_check")
        return tuple(OrphanRow(table=row["table"], rowid=row["rowid"], parent=row["parent"]) for row in found)


def _scored_trial(row: sqlite3.Row) -> ScoredTrial:
    task = None
    if row["task_body"] is not None:
        task = Task(
            task_id=row["task_id"],
            task_type=row["tasks_type"],
            difficulty=row["difficulty"],
            body=row["task_body"],
        )
    return ScoredTrial(
        trial=rows.trial_from_row(row),
        task=task,
        score=TrialScore(
            level=Level(row["level"]),
            workflow_score=row["workflow_score"],
            phase2_score=row["phase2_score"],
            quality_score=row["quality_score"],
            final_score=row["final_score"],
            error_class=row["error_class"],
            turns=row["turns"],
            tool_calls=row["tool_calls"],
            transcript=row["transcript"],
        ),
    )
