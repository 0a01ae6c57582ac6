"""The numbered, append-only steps that bring a runs.db to this version's schema.

A new step is a new function below the last, its SQL in schema.py, its name in `MIGRATION_NAMES`, its tables in
docs/database.md. No step is ever edited, renamed or removed.
"""

from __future__ import annotations

import sqlite3
import sys

from benchrunner.store.schema import M001_INITIAL, M002_FORECAST, M003_BOUNDS, M004_NIGHTS, MIGRATION_SET

# sqlite-utils imports pandas and numpy where they are installed, to insert their types; that takes half a second, and
# nothing here has such a type. None in sys.modules makes an import fail as if there were no such package.
_UNWANTED = [name for name in ("pandas", "numpy") if name not in sys.modules]
for _name in _UNWANTED:
    sys.modules[_name] = None  # type: ignore[assignment]
try:
    from sqlite_utils.db import Database
    from sqlite_utils.migrations import Migrations
finally:
    for _name in _UNWANTED:
        del sys.modules[_name]

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


@migrations()
def m004_nights(db: Database) -> None:
    """Keep a row for each night of `benchrunner nightly`."""
    for statement in M004_NIGHTS:
        db.conn.execute(statement)


def migrate(connection: sqlite3.Connection) -> None:
    """Apply the pending steps inside the transaction the caller has open.

    The caller begins it IMMEDIATE, so two invocations that meet on a new file build it once: the second finds
    nothing pending.
    """
    if not connection.in_transaction:
        raise ValueError("migrate() needs an open transaction: without one two invocations build the schema twice")
    migrations.apply(Database(connection, recursive_triggers=False, execute_plugins=False))
