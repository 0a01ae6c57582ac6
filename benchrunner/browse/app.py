"""The Datasette that shows one runs.db, and the entry of the process that serves it."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import orjson
from datasette.app import Datasette  # type: ignore[import-untyped]
from datasette.database import Database  # type: ignore[import-untyped]
from datasette.plugins import pm  # type: ignore[import-untyped]

from benchrunner.browse import plugin
from benchrunner.browse.guard import Application, guarded
from benchrunner.browse.metadata import DATABASE, SETTINGS, STYLE, metadata_for
from benchrunner.store.connection import connect_reader


class RunDatabase(Database):  # type: ignore[misc]
    """A runs.db for Datasette: opened as every reader opens it, and by nobody for writing."""

    def connect(self, write: bool = False) -> Any:
        """Return a read-only connection that sees what a running run commits."""
        if write:
            raise PermissionError(f"{self.path} is open for reading only")
        return connect_reader(Path(self.path))


def make_application(path: Path, hosts: tuple[str, ...] | None) -> Application:
    """Return the ASGI application that shows the runs.db at `path`. `hosts`: the names it answers to; None: any."""
    if not pm.is_registered(plugin):
        pm.register(plugin, name="benchrunner")
    datasette = Datasette(
        [],
        metadata=metadata_for(path),
        template_dir=str(plugin.TEMPLATES),
        static_mounts=[(STYLE, str(plugin.STATIC))],
        settings=SETTINGS,
    )
    datasette.remove_database("_memory")
    datasette.add_database(RunDatabase(datasette, str(path), is_mutable=True), name=DATABASE)
    return guarded(datasette.app(), hosts)


def serve_for_parent() -> Application:
    """Return the application that the first line of stdin asks for, and see to it that we end when stdin does.

    The other end of stdin is held by the command and by nobody else: when the command is gone, however it went, the
    kernel closes it.
    """
    asked = orjson.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    return make_application(Path(asked["db"]), None if asked["hosts"] is None else tuple(asked["hosts"]))


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    # At once: there is nothing to save, and the main thread may be waiting for a browser that keeps a line open.
    os._exit(0)
