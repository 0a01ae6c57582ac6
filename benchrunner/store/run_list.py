"""Which runs there are, with their counts, and which of them somebody means."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from benchrunner.errors import StoreError
from benchrunner.records import RunStatus
from benchrunner.store.answers import Ask, RunRow
from benchrunner.store.ownership import is_driven

NEWEST = "newest"

# Counted by run before the join: one pass over each index, not one per run and column.
_RUNS = """
SELECT runs.*, coalesce(t.planned, 0) AS planned, coalesce(t.scored, 0) AS scored, coalesce(t.invalid, 0) AS invalid,
       coalesce(c.calls, 0) AS calls, coalesce(c.refused, 0) AS refused
FROM runs
LEFT JOIN (SELECT run_id, count(*) AS planned, sum(status = 'scored') AS scored, sum(status = 'invalid') AS invalid
           FROM trials {where} GROUP BY run_id) AS t ON t.run_id = runs.id
LEFT JOIN (SELECT run_id, count(*) AS calls, sum(outcome = 'rate_limited') AS refused
           FROM calls {of_calls} GROUP BY run_id) AS c ON c.run_id = runs.id
"""
_NEWEST_FIRST = "ORDER BY runs.started_at DESC, runs.rowid DESC"


def read_runs(ask: Ask, database: Path, limit: int) -> tuple[RunRow, ...]:
    """Return the runs, newest first; at most `limit`, all when it is negative."""
    found = ask(f"{_RUNS.format(where='', of_calls='')} {_NEWEST_FIRST} LIMIT :limit", {"limit": limit})
    return tuple(_run_row(row, database) for row in found)


def read_run(ask: Ask, database: Path, run_id: str, *, count_calls: bool) -> RunRow:
    """Return a run that there is. `count_calls` False spares a pass over the calls: `calls` and `refused` read 0."""
    of_calls = "WHERE run_id = :run" if count_calls else "WHERE run_id = :run AND :none"
    sql = f"{_RUNS.format(where='WHERE run_id = :run', of_calls=of_calls)} WHERE runs.id = :run"
    (row,) = ask(sql, {"run": run_id, "none": False})
    return _run_row(row, database)


def newest_unfinished_id(ask: Ask) -> str | None:
    """Return the id of the newest run that is not complete, None when there is none."""
    found = ask(f"SELECT id FROM runs WHERE status <> 'complete' {_NEWEST_FIRST} LIMIT 1", {})
    return found[0]["id"] if found else None


def resolve_run(ask: Ask, database: Path, reference: str | None) -> str:
    """Return the id of the run that `reference` names: its id, an unambiguous beginning of it, or the newest (None).

    Raises StoreError, with the ids that come nearest, when it names none or several.
    """
    ids = [row["id"] for row in ask(f"SELECT id FROM runs {_NEWEST_FIRST}", {})]
    if not ids:
        raise StoreError(f"{database} holds no runs yet; `benchrunner phase 5.2` makes one")
    if reference in (None, "", NEWEST):
        return str(ids[0])
    assert reference is not None
    if reference in ids:
        return reference
    meant = [run_id for run_id in ids if run_id.startswith(reference)]
    if len(meant) == 1:
        return str(meant[0])
    if meant:
        raise StoreError(f"{reference!r} begins {len(meant)} runs: {some_of(meant)}; give more of it")
    near = difflib.get_close_matches(reference, ids, n=3, cutoff=0.0)
    raise StoreError(f"there is no run {reference!r} in {database}; nearest: {some_of(near)}")


def some_of(ids: Sequence[str], most: int = 5) -> str:
    """Return the first ids as text, and how many more there are."""
    return ", ".join(ids[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "")


def _run_row(row: sqlite3.Row, database: Path) -> RunRow:
    status = RunStatus(row["status"])
    return RunRow(
        run_id=row["id"],
        batch_id=row["batch_id"],
        phase=row["phase"],
        policy=row["policy"],
        engine=row["engine"],
        backend=row["backend"],
        seed=row["seed"],
        version=row["version"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        status=status,
        planned=row["planned"],
        scored=row["scored"],
        invalid=row["invalid"],
        calls=row["calls"],
        refused=row["refused"],
        forecast_s=row["forecast_s"],
        killed=status is RunStatus.RUNNING and not is_driven(database, row["id"]),
    )
