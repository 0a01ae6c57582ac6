"""A clock moved by hand, for views that are drawn now and then."""

from __future__ import annotations


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at_s = 100.0

    def now_s(self) -> float:
        """Return the instant it was moved to."""
        return self.at_s

    def sleep_s(self, seconds: float) -> None:
        """Move on."""
        self.at_s += seconds

    def utc(self) -> str:
        """Return the instant as text, a second after ten o'clock for every second past 100."""
        return f"2025-08-26T10:00:{self.at_s - 100:09.6f}Z"
