"""The `workflow` suite: tasks, prompts, dialogue and scores of the tool-use benchmark."""

from __future__ import annotations

from pathlib import Path

from benchrunner.suites.workflow.library import Library
from benchrunner.suites.workflow.suite import WorkflowSuite

__all__ = ["WorkflowSuite", "load"]


def load(tasks_file: Path | None) -> WorkflowSuite:
    """Return the suite, drawing from the library at `tasks_file` (a file, or a directory of them) if there is one.

    The library is read when tasks are asked for, and its faults are told then.
    """
    return WorkflowSuite(None if tasks_file is None else Library(tasks_file))
