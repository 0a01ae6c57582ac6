"""A domain's learned cap as its page in the ledger holds it, and what is needed to learn it: who left when.

The cap stands twice, and one cell says which of the two counts. A change is written to the other one and becomes valid
by a single store, so a writer that is killed on the way leaves the cap as it was. The counts of sends are only read to
guess a rate: torn by a kill, they make one guess worse.
"""

from __future__ import annotations

from dataclasses import astuple, fields

from benchrunner.limits.cap import AT_PACE, INF, NO_CAP, RATE_SPAN_S, SHORTEST_SPAN_S, Cap
from benchrunner.records import Limit, LimitKind

PACE_LIMIT = Limit(kind=LimitKind.REQUESTS, amount=1, per_s=1.0)
"""A cap is kept by a window of one request per spacing: places in the queue, late senders, withdrawals and killed
writers are then no new questions. The spacing stands with the cap; this length is never used."""

PACE_CAPACITY = 1_024
"""Calls that wait for a pace and have an entry each; more than dialogues of any phase at once."""

_CAP_CELLS = len(fields(Cap))
SIDE, SENT, LAST_AT, PACED, PACED_AT, MARK_AT, MARK_SENT, OLD_AT, OLD_SENT, CAPS = range(10)
PACER_CELLS = CAPS + 2 * _CAP_CELLS


class Pacer:
    """The cells of one domain's cap. Holds no state; the owner of the buffer lets one caller in at a time."""

    __slots__ = ("_at", "_cell", "_num")

    def __init__(self, num: memoryview[float], cell: memoryview[int], at: int) -> None:
        self._num, self._cell, self._at = num, cell, at

    @property
    def cap(self) -> Cap:
        """The cap that counts now."""
        start = self._counting()
        values = self._num[start : start + _CAP_CELLS]
        per_s, cut_to_per_s, refused_per_s, guessed, calls, calls_before, crowd, cut_at_s, told_per_s = values
        if not per_s:  # a page that was never written to
            return NO_CAP
        return Cap(
            per_s=per_s,
            cut_to_per_s=cut_to_per_s,
            refused_per_s=refused_per_s,
            guessed=guessed,
            calls=calls,
            calls_before=calls_before,
            crowd=crowd,
            cut_at_s=cut_at_s,
            told_per_s=told_per_s,
        )

    def keep(self, cap: Cap) -> None:
        """Let `cap` count from now on."""
        side = 1 - self._cell[self._at + SIDE]
        start = self._at + CAPS + side * _CAP_CELLS
        for i, value in enumerate(astuple(cap)):
            self._num[start + i] = value
        self._cell[self._at + SIDE] = side

    @property
    def learned(self) -> bool:
        """Whether there is a cap."""
        return 0.0 < self._num[self._counting()] < INF

    @property
    def spacing_s(self) -> float:
        """The least time between two sends, while there is a cap."""
        return 1.0 / self._num[self._counting()]

    @property
    def paced(self) -> int:
        """How many calls ever left at a cap's pace."""
        return self._cell[self._at + PACED]

    def note_send(self, now_s: float) -> None:
        """Count a call that leaves now."""
        num, cell, at = self._num, self._cell, self._at
        sent = cell[at + SENT] + 1
        cell[at + SENT] = sent
        if now_s - num[at + MARK_AT] > RATE_SPAN_S:
            fresh = now_s - num[at + MARK_AT] > 2 * RATE_SPAN_S  # quiet before: what was long ago is no rate
            num[at + OLD_AT] = now_s if fresh else num[at + MARK_AT]
            cell[at + OLD_SENT] = sent - 1 if fresh else cell[at + MARK_SENT]
            num[at + MARK_AT], cell[at + MARK_SENT] = now_s, sent - 1
        per_s = num[self._counting()]
        if 0.0 < per_s < INF and (now_s - num[at + LAST_AT]) * per_s <= AT_PACE:
            num[at + PACED_AT] = now_s
            cell[at + PACED] += 1
        num[at + LAST_AT] = now_s

    def observed_per_s(self, now_s: float) -> float:
        """Return the rate at which calls left lately."""
        span_s = max(SHORTEST_SPAN_S, now_s - self._num[self._at + OLD_AT])
        return max(1, self._cell[self._at + SENT] - self._cell[self._at + OLD_SENT]) / span_s

    def left_at_pace(self, sent_s: float) -> bool:
        """Return whether the call that left at `sent_s`, or one after it, left as soon as the cap allowed."""
        # A spacing more: a call counts from its departure, which is a little later than its permit was spent.
        return sent_s < self._num[self._at + PACED_AT] + self.spacing_s

    def _counting(self) -> int:
        return self._at + CAPS + self._cell[self._at + SIDE] * _CAP_CELLS
