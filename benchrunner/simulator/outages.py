"""Faults that depend on when a request comes: a shared bucket, a window that starts anew, a key that is dead a while.

Pure. Instants are seconds since the provider's first request.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from benchrunner.records import KeyOutage

BURST: Final = 10.0  # requests a rested bucket takes at once
OUTSIDE_SHARE: Final = 0.25  # of all that the upstream service takes, what strangers get
OUTSIDE_BURST: Final = 3.0  # strangers come in threes
STICKY_S: Final = 1.5  # how long a refusal makes the next ones likelier
STICKY_SHARE: Final = 0.68  # how likely
_LONGEST_CATCH_UP_S: Final = 120
AZURE_WINDOW_S: Final = 60.0


class ThrottleBucket:
    """A token bucket of an upstream account: it leaves its users `rate_per_s` on average, strangers take the rest.

    Who was refused is refused again for a while more often than not, tokens or none: refusals cluster. Fitted to what
    plain retrying met in the field (tests/unit/simulator/test_faults_in_time.py plays it).
    """

    def __init__(self, rate_per_s: float, *, seed: str) -> None:
        self._refill_per_s = rate_per_s / (1.0 - OUTSIDE_SHARE)
        self._outside_per_s = self._refill_per_s - rate_per_s
        self._seed = seed
        self._level = BURST
        self._second = 0  # up to where strangers have been
        self._filled_s = 0.0
        self._sticky_until_s = 0.0
        self._refusals = 0

    def refuses(self, now_s: float) -> bool:
        """Return whether a request at `now_s` is refused. One that is not, and is served, must `take`."""
        self._catch_up(now_s)
        sticky = now_s < self._sticky_until_s and self._draw("sticky", self._refusals) < STICKY_SHARE
        if not sticky and self._level >= 1.0:
            return False
        self._refusals += 1
        self._sticky_until_s = now_s + STICKY_S
        return True

    def take(self) -> None:
        """Count a served request."""
        self._level -= 1.0
        self._refusals += 1  # the next draw is another one

    def _catch_up(self, now_s: float) -> None:
        # Rested longer than it takes to fill: where it started from no longer matters.
        self._second = max(self._second, int(now_s) - _LONGEST_CATCH_UP_S)
        while self._second < int(now_s):
            self._second += 1
            self._fill(float(self._second))
            if self._draw("outside", self._second) < self._outside_per_s / OUTSIDE_BURST:
                # Below nothing too: pressing harder takes nothing away from strangers.
                self._level = max(-BURST, self._level - OUTSIDE_BURST)
        self._fill(now_s)

    def _fill(self, now_s: float) -> None:
        if now_s > self._filled_s:
            self._level = min(BURST, self._level + (now_s - self._filled_s) * self._refill_per_s)
            self._filled_s = now_s

    def _draw(self, what: str, number: int) -> float:
        digest = blake2b(f"{self._seed}/{what}/{number}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64


class TokenWindow:
    """At most `limit` tokens in a minute that begins with its first request; then nothing until the next minute."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._began_s: float | None = None
        self._used = 0

    def wait_s(self, now_s: float) -> float:
        """Return the rest of the window if it is used up, else 0.0."""
        if self._began_s is None or now_s >= self._began_s + AZURE_WINDOW_S or self._used < self.limit:
            return 0.0
        return self._began_s + AZURE_WINDOW_S - now_s

    def add(self, now_s: float, tokens: int) -> None:
        """Count a served request's tokens; the first after a window opens the next one."""
        if self._began_s is None or now_s >= self._began_s + AZURE_WINDOW_S:
            self._began_s, self._used = now_s, 0
        self._used += tokens


def is_dead(outage: KeyOutage, key_id: str, now_s: float) -> bool:
    """Return whether the key is dead at this instant."""
    if key_id != outage.key_id or now_s < outage.from_min * 60.0:
        return False
    return outage.to_min is None or now_s < outage.to_min * 60.0
