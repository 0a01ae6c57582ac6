"""The judge's window: an exact sliding log that refuses whatever would overfill any window of its length. Pure.

Written apart from `limits/`, which paces the requests: a judge that shared its code would share its mistakes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

_KEEP_WINDOWS = 2.0  # stamps may come a little out of order, so one spent window is kept behind the current one
_SWEEP_AT = 1024


class StrictWindow:
    """At most `amount` units in any closed stretch of `per_s` seconds.

    Closed: two arrivals exactly `per_s` apart share a window. Stamps may come in any order within one `per_s`.
    """

    def __init__(self, *, amount: int, per_s: float) -> None:
        self.amount, self.per_s = amount, per_s
        self.fullest = 0  # most units any window ever held
        self._stamps: list[float] = []
        self._totals: list[int] = [0]  # _totals[i]: units before the i-th stamp

    def wait_s(self, at_s: float, units: int) -> float:
        """Return 0.0 if `units` fit at `at_s`, else the seconds until they would (`per_s` if never). Reads only."""
        if units > self.amount:
            return self.per_s
        if self._most_with(at_s, units) <= self.amount:
            return 0.0
        # Newest window first: the stamp whose leaving makes room names the instant.
        newest = len(self._stamps)
        for index in range(bisect_left(self._stamps, at_s - self.per_s), newest):
            if self._totals[newest] - self._totals[index + 1] + units <= self.amount:
                return max(self._stamps[index] + self.per_s - at_s, 0.0) + 1e-6
        return self.per_s

    def add(self, at_s: float, units: int) -> None:
        """Count `units` at `at_s`."""
        self.fullest = max(self.fullest, self._most_with(at_s, units))
        index = bisect_right(self._stamps, at_s)
        self._stamps.insert(index, at_s)
        self._totals.insert(index + 1, self._totals[index])
        for later in range(index + 1, len(self._totals)):
            self._totals[later] += units
        spent = bisect_left(self._stamps, at_s - _KEEP_WINDOWS * self.per_s)
        if spent > _SWEEP_AT:
            del self._stamps[:spent]
            del self._totals[:spent]

    def used(self, at_s: float) -> int:
        """Return the units in the window that ends at `at_s`."""
        return self._between(at_s - self.per_s, at_s)

    def _between(self, first_s: float, last_s: float) -> int:
        start, end = bisect_left(self._stamps, first_s), bisect_right(self._stamps, last_s)
        return self._totals[end] - self._totals[start]

    def _most_with(self, at_s: float, units: int) -> int:
        """Return the most that any window with `at_s` in it would hold, were `units` added there."""
        first_s = at_s - self.per_s
        most = self._between(first_s, at_s)
        if self._stamps and self._stamps[-1] > at_s:
            # A latecomer: windows that reach past it count too. Each fullest one begins at a stamp, or at `at_s`.
            starts = self._stamps[bisect_left(self._stamps, first_s) : bisect_right(self._stamps, at_s)]
            most = max(self._between(start_s, start_s + self.per_s) for start_s in (*starts, at_s))
        return most + units
