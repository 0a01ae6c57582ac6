"""The numbered, append-only steps that bring a runs.db to this version's schema.

A new step is a new function below the last, its SQL in schema.py, its name in `MIGRATION_NAMES`, its tables in
docs/database.md. No step is ever edited, renamed or removed.
"""

from __future__ import annotations

import sqlite3

from sqlite_utils.db import Database
from sqlite_utils.migrations import Migrations

from benchrunner.store.schema import M001_INITIAL, M002_FORECAST, M003_BOUNDS, MIGRATION_SET

migrations = Migrations(MIGRATION_SET)


@migrations()
def m001_initial(db: Database) -> None:
    """Build the tables, indices and views of the first release."""
    for statement in M001_INITIAL:
        db.conn.execute(statement)


@migrations()
def m002_forecast(db: Database) -> None:
    """Keep with each run how long it was expected to take."""
    for statement in M002_FORECAST:
        db.conn.execute(statement)


@migrations()
def m003_bounds(db: Database) -> None:
    """Show with each rate what it could be at worst and at best."""
    for statement in M003_BOUNDS:
        db.conn.execute(statement)


def migrate(connection: sqlite3.Connection) -> None:
    """Apply the pending steps inside the transaction the caller has open.

    The caller begins it IMMEDIATE, so two invocations that meet on a new file build it once: the second finds
    nothing pending.
    """
    if not connection.in_transaction:
        raise ValueError("migrate() needs an open transaction: without one two invocations build the schema twice")
    migrations.apply(Database(connection, recursive_triggers=False, execute_plugins=False))
