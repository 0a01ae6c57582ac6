"""The list of runs as a table, one line a run, as wide as the screen allows."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from benchrunner.reporting.tables import Column, table
from benchrunner.reporting.wording import backend_mark, count_text
from benchrunner.store.answers import RunRow

RUNS_COUNTS = frozenset({"scored", "inv", "calls", "ref"})
RUNS_CAN_DO_WITHOUT = ("started", "phase", "calls", "policy", "ref", "inv")
"""Columns of the runs list, the first to go first where the screen is narrow: a run's id tells its time and phase."""


def runs_table(runs: Sequence[RunRow], *, width: int = 80) -> RenderableType:
    """Return the runs list, one line a run, in the order given; without columns that `width` has no room for."""
    columns = {
        "run": [run.run_id for run in runs],
        "phase": [run.phase for run in runs],
        "policy": [run.policy for run in runs],
        "backend": [backend_mark(run.backend) for run in runs],
        "status": ["killed" if run.killed else run.status.value for run in runs],
        "scored": [f"{run.scored}/{run.planned}" for run in runs],
        "inv": [str(run.invalid) for run in runs],
        "calls": [count_text(run.calls) for run in runs],
        "ref": [count_text(run.refused) for run in runs],
        "started": [_minute(run.started_at) for run in runs],
    }
    widths = {title: max([len(title), *map(len, cells)]) for title, cells in columns.items()}
    for title in RUNS_CAN_DO_WITHOUT:
        if sum(widths.values()) + len(widths) - 1 > width:
            del columns[title], widths[title]
    return table(
        f"{len(runs)} runs" if len(runs) != 1 else "1 run",
        [Column(title=title, numeric=title in RUNS_COUNTS, whole=title == "run") for title in columns],
        zip(*columns.values(), strict=True),
    )


def _minute(at: str) -> str:
    return at[:16].replace("T", " ")
