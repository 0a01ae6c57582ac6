"""The cells of a learned cap: what is written is what is read, also when the writer dies on the way."""

from __future__ import annotations

from typing import Any

import pytest

from benchrunner.limits.cap import NO_CAP, RATE_SPAN_S, Cap
from benchrunner.limits.pacing import PACER_CELLS, Pacer

OLD = Cap(per_s=2.0, cut_to_per_s=1.7, refused_per_s=2.0, calls=3.0, cut_at_s=50.0, told_per_s=1.7)
NEW = Cap(per_s=1.0, cut_to_per_s=1.0, refused_per_s=1.9, calls=0.0, crowd=2.0, cut_at_s=60.0, told_per_s=1.0)


class Killed(BaseException):
    """The process is gone."""


class DyingView:
    """A view that lets `stores[0]` more stores through."""

    def __init__(self, view: Any, stores: list[int]) -> None:
        self._view, self._stores = view, stores

    def __getitem__(self, index: Any) -> Any:
        return self._view[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        if not self._stores[0]:
            raise Killed
        self._stores[0] -= 1
        self._view[index] = value


def pacer_over(buffer: bytearray, stores: int | None = None) -> Pacer:
    view = memoryview(buffer)
    num, cell = view.cast("d"), view.cast("q")
    if stores is None:
        return Pacer(num, cell, 0)
    left = [stores]
    return Pacer(DyingView(num, left), DyingView(cell, left), 0)  # type: ignore[arg-type]


def test_an_unwritten_page_has_no_cap() -> None:
    """Zeros are what a fresh page holds."""
    pacer = pacer_over(bytearray(8 * PACER_CELLS))
    assert (pacer.cap, pacer.learned, pacer.paced) == (NO_CAP, False, 0)


def test_a_writer_killed_at_any_store_leaves_the_old_cap_or_the_new_one() -> None:
    """Never a mixture: one store decides."""
    seen = []
    for stores in range(50):
        # Given a page with a cap, and a writer with so many stores to live
        buffer = bytearray(8 * PACER_CELLS)
        pacer_over(buffer).keep(OLD)
        # When it dies while writing another one
        try:
            pacer_over(buffer, stores).keep(NEW)
        except Killed:
            seen.append(pacer_over(buffer).cap)
            continue
        # Then the old one counts until the very end
        assert seen == [OLD] * stores
        assert pacer_over(buffer).cap == NEW
        return
    pytest.fail("the writer never came to an end")


def test_the_rate_observed_is_of_the_last_spans_and_a_burst_counts_over_a_second() -> None:
    """Neither a quiet hour before nor the first millisecond makes the rate something else than it is."""
    pacer = pacer_over(bytearray(8 * PACER_CELLS))
    # Given thirty calls within 30 ms, after an hour of nothing
    pacer.note_send(100.0)
    for i in range(30):
        pacer.note_send(3_700.0 + i / 1000)
    # Then that is thirty a second
    assert pacer.observed_per_s(3_700.03) == 30.0
    # Given five a second for a minute, Then it is five a second
    for i in range(300):
        pacer.note_send(3_701.0 + i / 5)
    assert pacer.observed_per_s(3_761.0) == pytest.approx(5.0, rel=0.05)
    # And a slow decline is seen within two spans
    for i in range(30):
        pacer.note_send(3_761.0 + i)
    assert pacer.observed_per_s(3_761.0 + 3 * RATE_SPAN_S) == pytest.approx(1.0, rel=0.1)
