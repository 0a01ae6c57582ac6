"""The runs list: one line a run on every screen, its id whole, killed runs told from running ones."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from benchrunner.records import RunStatus
from benchrunner.reporting.console import SteadyConsole
from benchrunner.reporting.runs_table import runs_table
from benchrunner.reporting.tables import show
from benchrunner.store.answers import RunRow

RUN = RunRow(
    run_id="20261123T074919-5.3-ce0a",
    batch_id="b",
    phase="5.3",
    policy="batched",
    engine="local",
    backend="simulated",
    seed=1,
    version="1",
    started_at="2026-11-23T07:49:19.000000Z",
    ended_at=None,
    status=RunStatus.INTERRUPTED,
    planned=5600,
    scored=5600,
    invalid=120,
    calls=47_518,
    refused=9_999,
)


def lines(*runs: RunRow, width: int) -> list[str]:
    stream = io.StringIO()
    show(SteadyConsole(file=stream, width=width, color_system=None), [runs_table(runs, width=width)])
    return [line.rstrip() for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (120, "run phase policy backend status scored inv calls ref started"),
        (80, "run policy backend status scored inv calls ref"),
        (59, "run backend status scored"),
    ],
)
def test_a_run_is_one_line_whatever_the_screen(width: int, titles: str) -> None:
    """What there is no room for is left out, never folded; the id tells time and phase anyway."""
    shown = lines(RUN, replace(RUN, run_id="20261123T074919-5.3-ffff"), width=width)
    assert shown[1].split() == titles.split()
    assert [line.split()[0] for line in shown[2:]] == ["20261123T074919-5.3-ce0a", "20261123T074919-5.3-ffff"]
    assert max(map(len, shown)) <= width


def test_a_killed_run_does_not_read_running() -> None:
    """Beside one that does run."""
    running = replace(RUN, status=RunStatus.RUNNING)
    shown = lines(running, replace(running, killed=True), width=120)
    assert [line.split()[4] for line in shown[2:]] == ["running", "killed"]
