"""How rows of runs.db become records and answers again: one `..._from_row` per read. The way there is rows.py.

Rows are sqlite3.Row of the whole table, where nothing else is said. NULL means "not known yet" or "never happened".
"""

from __future__ import annotations

import sqlite3

from benchrunner.records import Condition, KeyEvent, Level, RunRecord, Shard, Task, Trial, TrialStatus
from benchrunner.store.answers import ResultRow, TrialRow


def run_from_row(row: sqlite3.Row) -> RunRecord:
    """Return the record behind a row of `runs`."""
    return RunRecord(
        run_id=row["id"],
        batch_id=row["batch_id"],
        phase=row["phase"],
        policy=row["policy"],
        engine=row["engine"],
        backend=row["backend"],
        seed=row["seed"],
        config_hash=row["config_hash"],
        config=row["config"],
        version=row["version"],
        argv=row["argv"],
        started_at=row["started_at"],
    )


def task_from_row(row: sqlite3.Row) -> Task:
    """Return the record behind a row of `tasks`."""
    return Task(task_id=row["task_id"], task_type=row["task_type"], difficulty=row["difficulty"], body=row["body"])


def shard_from_row(row: sqlite3.Row, trial_ids: tuple[str, ...]) -> Shard:
    """Return the record behind a row of `shards`; its trials stand in `trials`."""
    return Shard(
        shard_id=row["id"],
        position=row["position"],
        model=row["model"],
        provider=row["provider"],
        key_id=row["key_id"],
        label=row["label"],
        group=row["group_no"],
        trial_ids=trial_ids,
        expected_calls=row["expected_calls"],
        expected_call_s=row["expected_call_s"],
        workers=row["workers"],
        pace_qps=row["pace_qps"],
    )


def trial_from_row(row: sqlite3.Row) -> Trial:
    """Return the record behind a row of `trials`."""
    return Trial(
        trial_id=row["id"],
        shard_id=row["shard_id"],
        condition=Condition(
            model=row["model"],
            prompt=row["prompt"],
            difficulty=row["difficulty"],
            tool_success_rate=row["tool_success_rate"],
        ),
        task_id=row["task_id"],
        task_type=row["task_type"],
        instance=row["instance"],
        seed=row["seed"],
    )


def key_event_from_row(row: sqlite3.Row) -> KeyEvent:
    """Return the record behind a row of `key_events`."""
    return KeyEvent(
        run_id=row["run_id"],
        subject=row["key_id"] if row["domain"] is None else row["domain"],
        is_domain=row["domain"] is not None,
        at=row["at"],
        kind=row["kind"],
        detail=row["detail"],
    )


def ended_trial_from_row(row: sqlite3.Row) -> TrialRow:
    """Return the answer behind a row of `trials` that is scored or invalid, its task's body beside it."""
    return TrialRow(
        run_id=row["run_id"],
        trial_id=row["id"],
        model=row["model"],
        prompt=row["prompt"],
        difficulty=row["difficulty"],
        tool_success_rate=row["tool_success_rate"],
        task_type=row["task_type"],
        task_body=row["task_body"],
        status=TrialStatus(row["status"]),
        level=Level(row["level"]) if row["level"] else None,
        workflow_score=row["workflow_score"] or 0.0,
        phase2_score=row["phase2_score"] or 0.0,
        quality_score=row["quality_score"] or 0.0,
        final_score=row["final_score"] or 0.0,
        error_class=row["error_class"] or "",
        turns=row["turns"] or 0,
        tool_calls=row["tool_calls"] or 0,
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        transcript=row["transcript"] or "[]",
    )


def result_from_row(row: sqlite3.Row) -> ResultRow:
    """Return how the trial behind a row of `trials` stands; its transcript need not be in the row."""
    return ResultRow(
        trial_id=row["id"],
        model=row["model"],
        prompt=row["prompt"],
        difficulty=row["difficulty"],
        tool_success_rate=row["tool_success_rate"],
        task_id=row["task_id"],
        task_type=row["task_type"],
        instance=row["instance"],
        status=TrialStatus(row["status"]),
        level=None if row["level"] is None else Level(row["level"]),
        final_score=row["final_score"],
        error_class=row["error_class"] or "",
    )
