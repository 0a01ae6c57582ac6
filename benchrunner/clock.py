"""Time: the only file that imports ``time``.

Windows, leases and deadlines are stamped with the machine's monotonic clock, which all processes of one machine
share and which starts anew at boot. Wall-clock time appears only as UTC ISO 8601 text, for the store and for people.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where everything above the pure layers gets its time from."""

    def now_s(self) -> float:
        """Return seconds on the monotonic clock all processes of this machine share."""
        ...

    def sleep_s(self, seconds: float) -> None:
        """Return after `seconds`; zero or less returns at once."""
        ...

    def utc(self) -> str:
        """Return the wall-clock time as UTC ISO 8601 text with microseconds, ending in ``Z``."""
        ...


class WallClock(Clock, Protocol):
    """A clock that also tells the wall-clock time as a number."""

    def epoch_s(self) -> float:
        """Return seconds since 1970 on the wall clock, which may jump."""
        ...


def utc_text(epoch_s: float) -> str:
    """Return seconds since 1970 as UTC ISO 8601 text with microseconds, ending in ``Z``."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class SystemClock:
    """The real clock. Stateless: any process and any thread may hold one."""

    def now_s(self) -> float:
        """Return seconds on the machine's monotonic clock."""
        return time.monotonic()

    def sleep_s(self, seconds: float) -> None:
        """Return after `seconds` of real time."""
        if seconds > 0:
            time.sleep(seconds)

    def epoch_s(self) -> float:
        """Return seconds since 1970 on the wall clock, which may jump."""
        return time.time()

    def utc(self) -> str:
        """Return the wall-clock time as UTC ISO 8601 text."""
        return utc_text(time.time())
