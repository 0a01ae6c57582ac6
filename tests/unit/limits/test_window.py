from __future__ import annotations

from array import array
from itertools import pairwise

import pytest

from benchrunner.limits.window import (
    MAX_CAPACITY,
    MIN_CAPACITY,
    WINDOW_CELLS,
    Window,
    capacity_for,
    entry_cells,
    lay_window,
)
from benchrunner.records import Limit, LimitKind

NOW_S = 0.0


def make_window(
    amount: int, per_s: float = 1.0, margin_s: float = 0.0, capacity: int = 64, tokens: bool = False
) -> Window:
    kind = LimitKind.TOKENS if tokens else LimitKind.REQUESTS
    buffer = memoryview(bytearray(8 * (1 + WINDOW_CELLS + entry_cells(capacity))))
    num, cell = buffer.cast("d"), buffer.cast("q")
    num[0] = margin_s
    lay_window(num, cell, 1, 1 + WINDOW_CELLS, Limit(kind=kind, amount=amount, per_s=per_s), capacity)
    return Window(num, cell, 1, 0)


def take(window: Window, now_s: float, amount: int = 1, permit_id: int = 1) -> float:
    at_s = window.earliest(now_s, now_s, amount)
    window.insert(now_s, at_s, amount, permit_id)
    return at_s


def test_an_idle_window_grants_its_whole_amount_at_once_and_the_next_one_a_span_later():
    """The limit is used up without waiting; the first call beyond it waits for the window and its margin."""
    # Given an idle window of 3 per second with a margin of 10 ms
    window = make_window(3, margin_s=0.01)
    # When five calls ask at the same instant
    instants = [take(window, 100.0) for _ in range(5)]
    # Then three go now, and two as soon as the first have left the window
    assert instants == [100.0, 100.0, 100.0, 101.01, 101.01]


def test_calls_wait_for_the_very_entry_that_makes_room():
    """Spacing follows the single entries, not fixed periods."""
    # Given calls at 0.0, 0.3 and 0.9 in a window of 3 per second
    window = make_window(3)
    for now_s in (0.0, 0.3, 0.9):
        take(window, now_s)
    # When three more ask at 0.95, Then each takes the place of one that left
    assert [take(window, 0.95) for _ in range(3)] == [1.0, 1.3, 1.9]


def test_a_call_goes_before_a_later_reservation_that_it_does_not_hinder():
    """A reservation far ahead does not close the window for everybody until then."""
    # Given a reservation ten seconds ahead, which also waited for something else
    window = make_window(1)
    window.insert(NOW_S, 10.0, 1, 1)
    # When calls ask now, Then they fill the time before it, and skip the second around it
    assert [take(window, 0.0), take(window, 0.0)] == [0.0, 1.0]
    window.insert(NOW_S, 4.5, 1, 2)
    assert [take(window, 0.0) for _ in range(4)] == [2.0, 3.0, 5.5, 6.5]


def test_a_call_is_not_placed_where_a_later_reservation_would_become_one_too_many():
    """Fitting at its own instant is not enough: the newcomer still counts at the instants behind it."""
    # Given two reservations close together ahead, in a window of 2 per second
    window = make_window(2)
    window.insert(NOW_S, 0.5, 1, 1)
    window.insert(NOW_S, 0.6, 1, 2)
    # When a call asks now, although one would fit at this instant
    # Then it waits until the first of them has left
    assert window.earliest(0.0, 0.0, 1) == 1.5


def test_a_large_call_waits_for_enough_of_the_window_and_a_small_one_need_not_wait_behind_it():
    """Amounts differ in token windows; what is left beside a waiting large call may be used."""
    # Given 60 of 100 tokens used now
    window = make_window(100, tokens=True)
    take(window, 0.0, amount=60)
    # When a call of 70 asks, then one of 40, then one of 30
    large, small, smaller = take(window, 0.1, 70), take(window, 0.1, 40), take(window, 0.1, 30)
    # Then the large one waits for the 60, the 40 beside them would still count then, the 30 would not hinder
    assert (large, smaller) == (1.0, 0.1)
    assert small >= 1.0


def test_a_call_larger_than_the_limit_is_charged_the_limit_and_goes_out_alone():
    """An estimate beyond the limit waits for an empty window, not for ever."""
    # Given a token window with something in it
    window = make_window(100, tokens=True)
    take(window, 0.0, amount=10)
    # When a call of 500 tokens comes
    charged = window.charge(500)
    # Then it counts as 100 and goes when the window is empty
    assert (charged, window.earliest(0.5, 0.5, charged)) == (100, 1.0)


def test_a_withdrawn_entry_makes_room_and_its_neighbours_keep_theirs():
    """Giving back takes out exactly one entry."""
    # Given three reservations one after the other
    window = make_window(1)
    instants = [take(window, 0.0, permit_id=i) for i in (1, 2, 3)]
    assert instants == [0.0, 1.0, 2.0]
    # When the middle one is withdrawn
    window.withdraw(window.find(1.0, 2))
    # Then its instant is free again, and nothing else is
    assert window.entries() == [(0.0, 1, 1), (2.0, 1, 3)]
    assert [take(window, 0.0), take(window, 0.0)] == [1.0, 3.0]


def test_settling_corrects_one_entry_in_both_directions():
    """What a reply used replaces what was estimated."""
    # Given three calls of 30 tokens
    window = make_window(100, tokens=True)
    for permit_id in (1, 2, 3):
        take(window, 0.0, 30, permit_id)
    # When the first used 10 and the second 45
    window.settle(window.find(0.0, 1), 10)
    window.settle(window.find(0.0, 2), 45)
    # Then the window counts 85
    assert window.entries() == [(0.0, 10, 1), (0.0, 45, 2), (0.0, 30, 3)]
    assert window.used(0.0) == 85


def test_a_late_send_counts_from_when_it_left_and_cannot_be_claimed_again():
    """The window keeps the instant of the send, also when others went out in between."""
    # Given three entries, the first of which is sent last
    window = make_window(10)
    for permit_id, at_s in ((1, 0.0), (2, 0.01), (3, 0.5)):
        window.insert(NOW_S, at_s, 1, permit_id)
    # When it leaves 20 ms late
    window.spend(window.find(0.0, 1), 0.02)
    # Then it stands behind the second, spent
    assert window.entries() == [(0.01, 1, 2), (0.02, 1, -1), (0.5, 1, 3)]
    assert window.find(0.02, 1) == 0


def test_who_comes_too_close_behind_a_late_send_follows_when_it_may():
    """Two thirds of the margin are the network's: the one in front may be late by the rest without anybody waiting."""
    for late_s, expected in ((0.009, True), (0.011, False)):
        # Given two sends spaced by 1 s and a margin of 30 ms, the first of which left late
        window = make_window(1, margin_s=0.03)
        assert [take(window, 0.0, permit_id=i) for i in (1, 2)] == [0.0, 1.03]
        window.spend(window.find(0.0, 1), late_s)
        # When the second is due, Then it may leave only if it is a second and the network's share behind
        place = window.find(1.03, 2)
        assert window.may_send(1.03, 1, place) is expected
        # And if not, it may when that has passed, whoever has reserved behind it
        window.insert(NOW_S, 2.06, 1, 3)
        window.withdraw(place)
        assert window.next_send(1.03, 1) == pytest.approx(max(1.03, late_s + 1.02))


def test_a_call_whose_entry_is_gone_may_leave_if_there_is_room_for_one_more():
    """A sender that slept through its window is counted anew."""
    # Given a window of 2 with one send in it, and a caller without an entry
    window = make_window(2)
    window.insert(NOW_S, 0.0, 1, -1)
    assert window.may_send(0.5, 1, 0)
    # When another call leaves, Then there is no room any more until the first has left
    window.insert(NOW_S, 0.5, 1, -2)
    assert not window.may_send(0.5, 1, 0)
    assert window.next_send(0.5, 1) == 1.0


def test_a_full_log_merges_its_oldest_entries_onto_the_later_stamp():
    """More entries than the log keeps apart count for longer, never for less, and belong to nobody."""
    # Given a log that keeps 64 entries apart
    window = make_window(1000, capacity=64)
    # When 200 calls go out, a millisecond apart
    for i in range(200):
        take(window, i / 1000, permit_id=i + 1)
    # Then all 200 are counted, in 64 entries, the first of which can no longer be found
    entries = window.entries()
    assert 200 == window.used(0.2) == sum(amount for _, amount, _ in entries)
    assert len(entries) == 64
    assert (window.find(0.0, 1), entries[0][2]) == (0, 0)
    # And none of them leaves before its own second is over: the first 137 count as long as the last of them
    assert (window.used(1.1355), window.used(1.1365)) == (200, 63)


def test_more_waiting_calls_than_the_log_keeps_apart_do_not_hide_what_was_sent():
    """A sent call is never moved to a later stamp than now; the last of the waiting loses its entry instead."""
    # Given a call sent now, and as many waiting as the log holds
    window = make_window(1, capacity=8)
    window.insert(0.0, 0.0, 1, -1)
    for i in range(1, 20):
        window.insert(0.0, float(i), 1, i + 1)
    # Then the sent call still counts now, alone, and the log holds no more than it may
    assert window.used(0.0) == 1
    assert not window.may_send(0.5, 1, 0)
    assert window.entries()[0] == (0.0, 1, -1)
    assert len(window.entries()) == 8


def test_entries_that_left_are_dropped_and_the_rest_survives_the_move_to_the_front():
    """A window can be used for ever in a bounded buffer."""
    # Given a window of 4 per second in a small log
    window = make_window(4, capacity=8)
    # When 200 calls pass through it
    instants = [take(window, i * 0.25, permit_id=i + 1) for i in range(200)]
    # Then none waited, and the last four are there with their ids
    assert [i * 0.25 for i in range(200)] == instants
    assert [(i * 0.25, 1, i + 1) for i in range(196, 200)] == window.entries()


def test_a_smaller_clock_step_than_a_double_can_hold_does_not_stall_the_search():
    """The instant that makes room is accepted as such, whatever rounding does to it."""
    # Given stamps at which `t - span` and `s + span` round differently
    window = make_window(1, per_s=0.1, margin_s=0.008)
    at_s = take(window, 83_213.700_000_01)
    for _ in range(50):
        # When the next call is placed
        at_s = take(window, at_s)
        # Then asking again from the instant it is told gives that instant
        next_s = window.earliest(at_s, at_s, 1)
        assert next_s == window.earliest(at_s, next_s, 1)
    stamps = [stamp for stamp, _, _ in window.entries()]
    assert all(later >= earlier + 0.1 for earlier, later in pairwise(stamps))


def test_the_log_of_a_request_limit_is_exact_up_to_its_bound():
    """Twice the amount fits apart; huge limits are bounded."""
    sizes = [
        capacity_for(Limit(kind=LimitKind.REQUESTS, amount=amount, per_s=60.0)) for amount in (1, 72, 5_000, 10**9)
    ]
    assert sizes == [MIN_CAPACITY, MIN_CAPACITY, 10_000, MAX_CAPACITY]


def test_a_window_lives_in_any_buffer_of_doubles():
    """The decision does not care who owns the memory."""
    # Given an array instead of a bytearray
    cells = array("d", bytes(8 * (1 + WINDOW_CELLS + entry_cells(64))))
    buffer = memoryview(cells)
    num, cell = buffer, buffer.cast("B").cast("q")
    lay_window(num, cell, 1, 1 + WINDOW_CELLS, Limit(kind=LimitKind.REQUESTS, amount=1, per_s=2.0), 64)
    # When two calls ask, Then they are two seconds apart
    window = Window(num, cell, 1, 0)
    assert [take(window, 5.0), take(window, 5.0)] == [5.0, 7.0]
