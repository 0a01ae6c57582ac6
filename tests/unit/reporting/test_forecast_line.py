"""What a run's header says of its forecast."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console
from test_tables import SUMMARY

from benchrunner.records import RunStatus
from benchrunner.reporting.summary_tables import summary_parts
from benchrunner.reporting.tables import show


@pytest.mark.parametrize(
    ("status", "forecast_s", "expected"),
    [
        (RunStatus.COMPLETE, 37.2, "forecast 37 s, took 3 min 00 s"),
        (RunStatus.INCOMPLETE, 37.2, "forecast 37 s"),
        (RunStatus.COMPLETE, None, None),
    ],
)
def test_the_forecast_stands_beside_what_came(
    status: RunStatus, forecast_s: float | None, expected: str | None
) -> None:
    """Only a whole run took the time that was forecast; without a forecast nothing is said."""
    console = Console(file=StringIO(), width=100)
    show(console, summary_parts(replace(SUMMARY, status=status, forecast_s=forecast_s)))
    assert isinstance(console.file, StringIO)
    lines = [line for line in console.file.getvalue().splitlines() if line.startswith("forecast")]
    assert lines == ([] if expected is None else [expected])
