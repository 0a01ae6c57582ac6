"""A writer is killed between any two stores; what it leaves must count all that the living were granted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchrunner.limits.window import WINDOW_CELLS, Window, entry_cells, lay_window
from benchrunner.records import Limit, LimitKind

CAPACITY = 64
NOW_S = 5.0


class Killed(BaseException):
    """The process is gone."""


class DyingView:
    """A view that lets `stores[0]` more stores through."""

    def __init__(self, view: memoryview, stores: list[int]) -> None:
        self._view, self._stores = view, stores

    def __len__(self) -> int:
        return len(self._view)

    def __getitem__(self, index: Any) -> Any:
        return self._view[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):  # a copied block is torn wherever the kill falls
            for offset, item in enumerate(value):
                self[index.start + offset] = item
            return
        if not self._stores[0]:
            raise Killed
        self._stores[0] -= 1
        self._view[index] = value


def open_window(buffer: bytearray, stores: int | None = None) -> Window:
    view = memoryview(buffer)
    num, cell = view.cast("d"), view.cast("q")
    if stores is None:
        return Window(num, cell, 1, 0)
    left = [stores]
    return Window(DyingView(num, left), DyingView(cell, left), 1, 0)  # type: ignore[arg-type]


def filled(entries: list[tuple[float, int, int]], passed_before: int = 0) -> bytearray:
    buffer = bytearray(8 * (1 + WINDOW_CELLS + entry_cells(CAPACITY)))
    view = memoryview(buffer)
    limit = Limit(kind=LimitKind.TOKENS, amount=1_000, per_s=10.0)
    lay_window(view.cast("d"), view.cast("q"), 1, 1 + WINDOW_CELLS, limit, CAPACITY)
    window = open_window(buffer)
    for i in range(passed_before):
        window.insert(-1_000.0 + i, -1_000.0 + i, 1, 900 + i)
        window.earliest(-900.0 + i, -900.0 + i, 1)
    for at_s, amount, permit_id in entries:
        window.insert(NOW_S, at_s, amount, permit_id)
    return buffer


def counted(entries: list[tuple[float, int, int]], at_s: float) -> int:
    return sum(amount for stamp, amount, _ in entries if stamp <= at_s)


def granted_later(entries: list[tuple[float, int, int]], at_s: float) -> int:
    return sum(amount for stamp, amount, _ in entries if stamp >= at_s)


ENTRIES = [(1.0, 30, 1), (2.0, 10, 2), (2.0, 50, 3), (3.0, 20, 4), (4.0, 70, 5)]

PASSED_BEFORE = 2 * CAPACITY + 1 - len(ENTRIES)
"""So many entries have been and gone that the log's last slot is taken."""

ACTS: list[tuple[str, Callable[[Window], None], int, int]] = [
    ("insert at the end", lambda window: window.insert(NOW_S, 5.0, 40, 9), 9, 0),
    ("insert in the middle", lambda window: window.insert(NOW_S, 2.0, 40, 9), 9, 0),
    ("insert in front", lambda window: window.insert(NOW_S, 0.5, 40, 9), 9, 0),
    ("insert after moving to the front", lambda window: window.insert(NOW_S, 5.0, 40, 9), 9, PASSED_BEFORE),
    ("withdraw", lambda window: window.withdraw(window.find(2.0, 2)), 2, 0),
    ("withdraw the last", lambda window: window.withdraw(window.find(4.0, 5)), 5, 0),
    ("spend late", lambda window: window.spend(window.find(1.0, 1), 3.5), 1, 0),
    ("settle down", lambda window: window.settle(window.find(2.0, 2), 1), 2, 0),
    ("settle up", lambda window: window.settle(window.find(2.0, 2), 99), 2, 0),
    ("expire", lambda window: window.earliest(11.5, 11.5, 1) and None, 1, 0),
]


@pytest.mark.parametrize(("act", "touched", "passed_before"), [row[1:] for row in ACTS], ids=[row[0] for row in ACTS])
def test_whatever_store_is_the_last_nobody_elses_entry_is_counted_for_less(
    act: Callable[[Window], None], touched: int, passed_before: int
):
    """After a kill between any two stores every other permit is still counted, none earlier than it was."""
    others = [entry for entry in ENTRIES if entry[2] != touched]
    stores = 0
    while True:
        # Given a log with five entries, and a writer with so many stores to live
        buffer = filled(ENTRIES, passed_before)
        finished = True
        # When it dies on the way
        try:
            act(open_window(buffer, stores))
        except Killed:
            finished = False
        # Then for every instant, what stands at or after it is at least what the others were granted there
        window = open_window(buffer)
        left = window.entries()
        for at_s, _, _ in others:
            assert granted_later(left, at_s) >= granted_later(others, at_s)
        # And the log is in order, so the next caller finds its instant
        assert [stamp for stamp, _, _ in left] == sorted(stamp for stamp, _, _ in left)
        assert all(amount >= 0 for _, amount, _ in left)
        at_s = window.earliest(4.0, 4.0, 1000)
        assert at_s >= max(stamp for stamp, _, _ in others) + 10.0
        window.insert(NOW_S, at_s, 1000, 77)
        assert window.find(at_s, 77)
        if finished:
            break
        stores += 1
    assert stores >= 1


def test_a_kill_while_entries_are_merged_loses_none_of_them():
    """Merging takes several stores; after each of them the sum is whole."""
    full = [(1.0 + i / 100, 1, i + 1) for i in range(CAPACITY)]
    for stores in range(4):
        # Given a full log, and a writer that dies while making room for one more
        buffer = filled(full)
        with pytest.raises(Killed):
            open_window(buffer, stores).insert(9.0, 9.0, 1, 500)
        # Then all entries are still counted
        assert counted(open_window(buffer).entries(), 9.0) == CAPACITY
