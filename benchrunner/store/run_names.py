"""The names of the newest runs, and nothing else: what a shell asks for between two keystrokes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from benchrunner.errors import StoreError

BUSY_S = 0.2
"""A shell that waits for a locked database is worse than one without suggestions."""


def newest_runs(path: Path, beginning: str, *, most: int) -> tuple[tuple[str, str], ...]:
    """Return (run id, "phase, policy, status") of the newest runs whose id begins so, the newest first.

    Reads only: no file is made and no schema changed. Raises StoreError where the database is missing or no database.
    """
    if not path.is_file():
        raise StoreError(f"there is no run database at {path}")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as connection:
            rows = connection.execute(
                "SELECT id, phase, policy, status FROM runs WHERE substr(id, 1, ?) = ? ORDER BY id DESC LIMIT ?",
                (len(beginning), beginning, most),
            ).fetchall()
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    return tuple((run_id, f"{phase}, {policy}, {status}") for run_id, phase, policy, status in rows)
