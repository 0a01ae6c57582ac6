"""What reporting tests share: the small recorded run of the store's tests, and a clock moved by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from reporting_clock import HandClock

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))


@pytest.fixture
def clock() -> HandClock:
    """Return a clock at 100 s."""
    return HandClock()
