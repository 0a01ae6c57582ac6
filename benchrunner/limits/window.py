"""The exact sliding log of one limit, kept in a buffer that the caller owns.

For every instant x the amounts stamped in (x - per_s, x] add up to at most the limit. Spacing is done with
`per_s + margin`; the margin stands in the buffer, beside the domain the window belongs to.

Three parallel arrays hold the entries in order of their stamps: the stamp, the running total up to and including the
entry, and the permit's id (negated once it is spent, 0 when nobody can claim it any more). Running totals make "how
much between these two instants" a subtraction, so an instant is found by bisection. Slot `head - 1` is always a dead
entry: its running total is where the live ones start from. `head` and `tail` share one 64-bit cell, because both must
change at once.

The buffer may be shared memory whose writer is killed between any two stores. So every store keeps the rule: what the
log holds at that moment counts at least what the living have been granted, never less and never earlier. No journal
and no repair are needed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from benchrunner.records import Limit, LimitKind

WINDOW_CELLS = 6
"""Cells of 8 bytes that describe a window, apart from its entries."""

KIND, AMOUNT, PER_S, CAPACITY, MARK, BASE = range(WINDOW_CELLS)

WIRE_SHARE = 2 / 3
"""The part of a margin that two sends keep whatever happens: the network's and the server's, whose delay differs from
call to call. The rest may be used up by a sender that wakes late.

A third was enough on a machine with a core to spare (5 ms of a 15 ms margin); with twice as many busy processes as
cores 2-4 of 600 requests were read by their server that much later than those a window behind, and refused.
"""

MIN_CAPACITY, MAX_CAPACITY = 2_048, 16_384  # of entries: sent ones and waiting ones
_SMALLEST_CALL_TOKENS = 32  # fewer tokens than any chat request carries: sizes the log of a token window
_LOW = 0xFFFFFFFF
_ONE_MORE = 1 << 32
_KINDS = (LimitKind.REQUESTS, LimitKind.TOKENS)


def capacity_for(limit: Limit) -> int:
    """Return how many live entries a window of `limit` keeps apart: sent ones, and some thousand that wait."""
    entries = 2 * limit.amount if limit.kind is LimitKind.REQUESTS else limit.amount // _SMALLEST_CALL_TOKENS
    return max(MIN_CAPACITY, min(MAX_CAPACITY, entries))


def entry_cells(capacity: int) -> int:
    """Return the cells that the entries of a window of `capacity` take.

    Twice the capacity and the dead slot: live entries can then be copied to the front without touching the originals.
    """
    return 3 * (2 * capacity + 2)


def lay_window(
    num: memoryview[float], cell: memoryview[int], at: int, base: int, limit: Limit, capacity: int
) -> None:
    """Write an empty window at cell `at`, its entries at cell `base`."""
    slots = 2 * capacity + 2
    num[base] = float("-inf")
    num[base + slots] = 0.0
    cell[base + 2 * slots] = 0
    cell[at + KIND] = _KINDS.index(limit.kind)
    cell[at + AMOUNT] = limit.amount
    num[at + PER_S] = limit.per_s
    cell[at + CAPACITY] = capacity
    cell[at + BASE] = base
    cell[at + MARK] = 1 | _ONE_MORE  # head 1, tail 1: nothing live


class Window:
    """One window in a buffer, seen as doubles (`num`) and as integers (`cell`). Holds no state of its own.

    Not thread-safe: whoever owns the buffer lets one caller in at a time.
    """

    __slots__ = (
        "_cell", "_id", "_margin_at", "_mark_at", "_num", "_slots", "_stamps", "amount", "capacity", "kind", "per_s"
    )

    def __init__(self, num: memoryview[float], cell: memoryview[int], at: int, margin_at: int) -> None:
        self.kind = _KINDS[cell[at + KIND]]
        self.amount = cell[at + AMOUNT]
        self.per_s = num[at + PER_S]
        self.capacity = cell[at + CAPACITY]
        self._num, self._cell = num, cell
        self._mark_at, self._margin_at = at + MARK, margin_at
        self._stamps = cell[at + BASE]
        self._slots = 2 * self.capacity + 2  # from a stamp to its running total; twice that to its id
        self._id = 2 * self._slots

    @property
    def limit(self) -> Limit:
        """The limit this window keeps."""
        return Limit(kind=self.kind, amount=self.amount, per_s=self.per_s)

    def charge(self, tokens: int) -> int:
        """Return what a call of `tokens` tokens is charged here; 0: it does not touch this window.

        A call larger than the whole limit is charged the whole limit: it goes out alone instead of waiting for ever.
        """
        if self.kind is LimitKind.REQUESTS:
            return 1
        return tokens if tokens < self.amount else self.amount

    def earliest(self, now_s: float, from_s: float, amount: int) -> float:
        """Return the first instant >= `from_s` >= `now_s` at which `amount` more overfills no span of the window.

        Entries that left the window before `now_s` are dropped on the way. `amount` is at most the limit.
        """
        num, cell, slots = self._num, self._cell, self._slots
        mark = cell[self._mark_at]
        first, end = self._stamps + (mark & _LOW), self._stamps + (mark >> 32)
        span = self.per_s + num[self._margin_at]
        if first < end and num[first] + span <= now_s:
            live = self._first_active(now_s, span, first + 1, end)
            cell[self._mark_at] = mark + live - first
            first = live
        room = self.amount - amount
        if first == end:
            return from_s
        if num[end - 1] <= from_s:  # nothing lies ahead: only the total counts
            total = num[end - 1 + slots]
            if total - num[first - 1 + slots] <= room:
                return from_s
            return max(from_s, num[self._releasing(total - room, first, end)] + span)
        return self._earliest_among(from_s, span, room, first, end)

    def insert(self, now_s: float, at_s: float, amount: int, permit_id: int) -> None:
        """Count `amount` at `at_s` for `permit_id` (negative: already spent).

        In a full log, of the calls that wait the last one goes without an entry, be it this one or another: when it
        comes to send it is let through only if there is room, so the limit does not depend on it. Sent calls stay.
        """
        num, cell, slots = self._num, self._cell, self._slots
        mark = cell[self._mark_at]
        if (mark >> 32) - (mark & _LOW) >= self.capacity or mark >> 32 == slots:
            if at_s > now_s and num[self._stamps + (mark >> 32) - 1] <= at_s and self._is_full(mark):
                return
            mark = self._make_room(mark, now_s)
        end = self._stamps + (mark >> 32)
        before = num[end - 1 + slots]
        if num[end - 1] <= at_s:
            num[end] = at_s
            num[end + slots] = before + amount
            cell[end + self._id] = permit_id
            cell[self._mark_at] = mark + _ONE_MORE  # last: the entry appears whole or not at all
            return
        place = bisect_right(num, at_s, self._stamps + (mark & _LOW), end)
        ids = self._id
        for i in range(end - 1, place - 1, -1):
            # The total before the stamp: until both are written, the newcomer's amount sits on a later entry.
            num[i + 1 + slots] = num[i + slots] + amount
            num[i + 1] = num[i]
            cell[i + 1 + ids] = cell[i + ids]
            if i == end - 1:
                cell[self._mark_at] = mark + _ONE_MORE
        num[place + slots] = num[place - 1 + slots] + amount
        num[place] = at_s
        cell[place + ids] = permit_id

    def find(self, at_s: float, permit_id: int) -> int:
        """Return the place of the entry that `permit_id` stamped at `at_s`; 0 when it is gone or merged."""
        num, cell = self._num, self._cell
        mark = cell[self._mark_at]
        end = self._stamps + (mark >> 32)
        i = bisect_left(num, at_s, self._stamps + (mark & _LOW), end)
        while i < end and num[i] == at_s:
            if cell[i + self._id] == permit_id:
                return i
            i += 1
        return 0

    def withdraw(self, place: int) -> None:
        """Take the entry at `place` (from `find`) out."""
        num, cell, slots, ids = self._num, self._cell, self._slots, self._id
        mark = cell[self._mark_at]
        end = self._stamps + (mark >> 32)
        amount = num[place + slots] - num[place - 1 + slots]
        for i in range(place + 1, end):
            # The stamp before the total: until both are written, the leaver's amount sits on a later entry.
            num[i - 1] = num[i]
            num[i - 1 + slots] = num[i + slots] - amount
            cell[i - 1 + ids] = cell[i + ids]
        cell[self._mark_at] = mark - _ONE_MORE

    def may_send(self, now_s: float, amount: int, place: int) -> bool:
        """Return whether the call whose entry is at `place` (0: it has none any more) may leave at `now_s`.

        Exact whatever happened since the reservation: every call that left is stamped with the instant at which it
        did, none of them later than now, so all that matters is what counts now. Entries ahead are not asked: who
        comes too close behind finds that out by this same question.
        """
        num, slots = self._num, self._slots
        due, low = self._counting(now_s)
        used = num[due - 1 + slots] - num[low - 1 + slots]
        if low <= place < due:
            used -= num[place + slots] - num[place - 1 + slots]
        return used + amount <= self.amount

    def next_send(self, now_s: float, amount: int) -> float:
        """Return when a withdrawn call that had been due may leave: `now_s`, or when enough of what is due has left.

        Reservations ahead do not stand in its way, since it was in front of them.
        """
        num, slots = self._num, self._slots
        due, low = self._counting(now_s)
        room, total = self.amount - amount, num[due - 1 + slots]
        if total - num[low - 1 + slots] <= room:
            return now_s
        return num[self._releasing(total - room, low, due)] + self.per_s + num[self._margin_at] * WIRE_SHARE

    def spend(self, place: int, to_s: float) -> None:
        """Mark the entry at `place` as sent at `to_s`, which is not before its stamp. It may be marked already."""
        num, cell, slots, ids = self._num, self._cell, self._slots, self._id
        end = self._stamps + (cell[self._mark_at] >> 32)
        permit_id = abs(cell[place + ids])
        while place + 1 < end and num[place + 1] <= to_s:  # change places with those that went out before it
            behind = num[place + 1 + slots] - num[place + slots]
            num[place] = num[place + 1]
            num[place + slots] = num[place - 1 + slots] + behind
            cell[place + ids] = cell[place + 1 + ids]
            cell[place + 1 + ids] = permit_id
            place += 1
        num[place] = to_s
        cell[place + ids] = -permit_id

    def settle(self, place: int, amount: int) -> None:
        """Let the entry at `place` count `amount` instead of what it was charged."""
        num, slots = self._num, self._slots
        end = self._stamps + (self._cell[self._mark_at] >> 32)
        more = amount - (num[place + slots] - num[place - 1 + slots])
        # Growing, the last total first; shrinking, the first one first: the difference sits on a later entry meanwhile.
        places = range(end - 1, place - 1, -1) if more > 0 else range(place, end)
        for i in places:
            num[i + slots] += more

    def used(self, now_s: float) -> float:
        """Return what counts at `now_s` (without the margin). Reads only."""
        first, end = self._live()
        last = bisect_right(self._num, now_s, first, end)
        low = self._first_active(now_s, self.per_s, first, last)
        return self._num[last - 1 + self._slots] - self._num[low - 1 + self._slots]

    def ahead(self, now_s: float) -> int:
        """Return how many entries are stamped later than `now_s`. Reads only."""
        first, end = self._live()
        return end - bisect_right(self._num, now_s, first, end)

    def entries(self) -> list[tuple[float, int, int]]:
        """Return the live entries as (stamp, amount, permit id), oldest first."""
        num, slots = self._num, self._slots
        first, end = self._live()
        return [
            (num[i], int(num[i + slots] - num[i - 1 + slots]), self._cell[i + self._id]) for i in range(first, end)
        ]

    def _live(self) -> tuple[int, int]:
        mark = self._cell[self._mark_at]
        return self._stamps + (mark & _LOW), self._stamps + (mark >> 32)

    def _counting(self, now_s: float) -> tuple[int, int]:
        """Return the first entry ahead of `now_s`, and the first one that still counts for a send."""
        first, end = self._live()
        due = bisect_right(self._num, now_s, first, end)
        span = self.per_s + self._num[self._margin_at] * WIRE_SHARE
        return due, self._first_active(now_s, span, first, due)

    def _first_active(self, at_s: float, span: float, low: int, high: int) -> int:
        """Return the first of the entries low..high that still counts at `at_s`."""
        num = self._num
        i = bisect_right(num, at_s - span, low, high)
        # `s + span > at` decides everywhere; `at - span` rounds differently and would now and then disagree by one.
        while i > low and num[i - 1] + span > at_s:
            i -= 1
        while i < high and num[i] + span <= at_s:
            i += 1
        return i

    def _releasing(self, total: float, first: int, end: int) -> int:
        """Return the entry whose leaving brings the sum of those before `end` down by enough."""
        return bisect_left(self._num, total, first + self._slots, end + self._slots) - self._slots

    def _earliest_among(self, from_s: float, span: float, room: int, first: int, end: int) -> float:
        """`earliest` with entries ahead: the newcomer may lie before them if none of them would be one too many."""
        num, slots = self._num, self._slots
        at_s = from_s
        while True:
            i = bisect_left(num, at_s + span, first, end)
            while True:  # from the latest instant the newcomer would still count at, back to its own
                busiest = i == first or num[i - 1] <= at_s
                instant = at_s if busiest else num[i - 1]
                low = self._first_active(instant, span, first, i)
                total = num[i - 1 + slots]
                if total - num[low - 1 + slots] > room:
                    # No start before this release works: each would still count at `instant` or start within its span.
                    at_s = num[self._releasing(total - room, low, i)] + span
                    break
                if busiest:
                    return at_s
                i -= 1

    def _is_full(self, mark: int) -> bool:
        return (mark >> 32) - (mark & _LOW) >= self.capacity

    def _make_room(self, mark: int, now_s: float) -> int:
        """Return the mark after freeing a slot: the oldest become one, or the live ones move to the front."""
        num, cell, slots, base = self._num, self._cell, self._slots, self._stamps
        head, tail = mark & _LOW, mark >> 32
        if self._is_full(mark):
            if num[base + tail - 1] > now_s:
                mark -= _ONE_MORE  # the last of those who wait
                tail -= 1
            else:
                # Onto the latest stamp of the merged: they count for longer than they should, never for less. Nobody
                # can claim a merged entry. Several at once, since that costs no more stores than two.
                last = head + max(1, self.capacity // 64)
                cell[base + last + self._id] = 0
                num[base + last - 1 + slots] = num[base + head - 1 + slots]
                mark += last - head
                head = last
            cell[self._mark_at] = mark
        if tail == slots:
            count = tail - head + 1  # with the dead slot; at most capacity, so copies lie clear of the originals
            start = base + head - 1
            for row in (base, base + slots, base + self._id):
                offset = start - base + row
                cell[row : row + count] = cell[offset : offset + count]
            mark = 1 | count << 32
            cell[self._mark_at] = mark
        return mark
