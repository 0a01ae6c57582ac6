"""The top-level function a forked worker starts in, and what the fork server imports before it forks."""

from __future__ import annotations

from typing import Any

from benchrunner.engine.worker import run_worker


def enter(pipe: Any) -> None:
    """Run a worker on its end of the pipe."""
    run_worker(pipe)
