"""The embedded provider's window, which judges everybody else's."""

from __future__ import annotations

import pytest

from benchrunner.simulator.strict_window import StrictWindow


def _offer(window: StrictWindow, at_s: float, units: int = 1) -> bool:
    """Count an arrival if it fits, as the service does; return whether it did."""
    if window.wait_s(at_s, units) > 0.0:
        return False
    window.add(at_s, units)
    return True


def test_eleventh_request_of_a_second_is_refused_and_told_when() -> None:
    """A refusal names the instant the oldest arrival leaves the window."""
    # Given ten arrivals, one each 0.01 s
    window = StrictWindow(amount=10, per_s=1.0)
    assert [_offer(window, 5.0 + 0.01 * n) for n in range(10)] == [True] * 10
    # When an eleventh comes
    wait_s = window.wait_s(5.2, 1)
    # Then it waits for the first to leave, and fits right then
    assert pytest.approx(wait_s, abs=1e-5) == 0.8
    assert _offer(window, 5.2 + wait_s)


def test_arrivals_exactly_one_window_apart_share_it() -> None:
    """The window is closed: an arrival at its very end still meets the one at its start."""
    # Given a full window of one
    window = StrictWindow(amount=1, per_s=1.0)
    assert _offer(window, 1.0)
    # When the next comes exactly one window later, or a hair after that
    # Then only the second fits
    assert [_offer(window, 2.0), _offer(window, 2.001)] == [False, True]


def test_refused_arrival_weighs_nothing() -> None:
    """Asking does not count: knocking again and again does not push the door further away."""
    # Given a full window and many refused arrivals
    window = StrictWindow(amount=1, per_s=1.0)
    assert _offer(window, 0.0)
    assert [_offer(window, 0.1 * n) for n in range(1, 10)] == [False] * 9
    # When the first has left; Then the next fits, and never more than one was in
    assert _offer(window, 1.01)
    assert window.fullest == 1


def test_late_stamp_is_judged_where_it_belongs() -> None:
    """A request stamped earlier but judged later meets the arrivals on both sides of it."""
    # Given two arrivals within a window of two, and one more long before
    window = StrictWindow(amount=2, per_s=1.0)
    assert [_offer(window, 10.0), _offer(window, 10.9)] == [True, True]
    # When one stamped between them is judged last; Then it would make three, and is refused
    assert not _offer(window, 10.5)
    # And one that shares a window with the first only is not
    assert _offer(window, 9.5)


def test_more_than_the_whole_window_never_fits() -> None:
    """A request that outweighs the window is told to wait a full window, for ever."""
    # Given / When
    window = StrictWindow(amount=400, per_s=60.0)
    # Then
    assert window.wait_s(0.0, 401) == 60.0


def test_long_run_keeps_few_stamps() -> None:
    """Memory stays bounded over a long run."""
    # Given a window of 100 per second, kept full
    window = StrictWindow(amount=100, per_s=1.0)
    accepted = sum(_offer(window, n * 0.0101) for n in range(20_000))
    # Then everything fitted, and only some windows' worth is kept
    assert accepted == 20_000
    assert len(window._stamps) < 3_000
    assert len(window._stamps) + 1 == len(window._totals)
