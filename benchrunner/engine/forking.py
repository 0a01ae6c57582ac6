"""The server that every process of a run is forked from, started before anything else so that its imports overlap ours.

The start method is named: `forkserver`, or `spawn` where there is none. `fork` with threads running can deadlock.
"""

from __future__ import annotations

import atexit
import contextlib
import signal
import tempfile
from collections.abc import Iterator
from typing import Any

import multiprocess

from benchrunner.errors import StateError

PRELOAD = (
    "benchrunner.engine.worker",
    "benchrunner.engine.worker_entry",
    "benchrunner.registry.host",
    "benchrunner.suites.jsonl",
    "benchrunner.suites.workflow",
)
"""What the server imports before it forks. Both suites: it is started before the config says which one asks."""


@contextlib.contextmanager
def deaf_children() -> Iterator[None]:
    """Have processes started inside begin with SIGINT and SIGTERM blocked.

    Both reach a whole process group, and a child could take one before it gets to ignoring it. The supervisor alone
    hears them; one that arrives meanwhile is delivered to it at the end of the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def named_context() -> Any:
    """Return the multiprocess context of a run; its server is starting, its imports under way, when this returns."""
    if "forkserver" not in multiprocess.get_all_start_methods():
        return multiprocess.get_context("spawn")
    context = multiprocess.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    from multiprocess import forkserver, resource_tracker

    # First and outside: starting the tracker unblocks both signals, and the server would begin with them open.
    resource_tracker.ensure_running()
    with deaf_children():
        try:
            forkserver.ensure_running()
        except OSError as error:
            # Its socket lies in a directory of multiprocess's own under the temporary directory; the kernel takes 107
            # bytes of path.
            where = tempfile.gettempdir()
            raise StateError(
                f"the fork server's socket cannot be made under {where}: {error}; set TMPDIR to a short, writable path"
            ) from error
    atexit.register(end_servers)
    return context


def end_servers() -> None:
    """End the fork server and its resource tracker, and return when they are gone.

    They would end by themselves once every pipe to them is closed, but somewhat after this process: whoever looks for
    what a command left running must find nothing.
    """
    from multiprocess import forkserver, resource_tracker

    # There is no public way to stop either; both methods are what multiprocess's own tests end them by.
    with contextlib.suppress(ChildProcessError):  # killed, and reaped already
        forkserver._forkserver._stop()
    with contextlib.suppress(ChildProcessError):
        resource_tracker._resource_tracker._stop()
