"""The top-level function that a forked worker starts in.

A start method names it by its module, which the supervisor imports too: so a worker's own imports, the HTTP stack among
them, are no concern of this one. The fork server has made them when it forks (forking.py).
"""

from __future__ import annotations

from typing import Any


def enter(pipe: Any) -> None:
    """Run a worker on its end of the pipe."""
    from benchrunner.engine.worker import run_worker

    run_worker(pipe)
