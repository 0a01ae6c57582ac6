"""Signals that ask to stop, and the deadline that is one of them."""

from __future__ import annotations

import signal

import pytest

from benchrunner.engine.signals import DEADLINE, StopSignals

FAR_S = 3600.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, DEADLINE])
def test_whoever_waits_hears_of_the_first_signal(number: signal.Signals) -> None:
    """A wait ends with the signal, not after its time, and `first` tells which it was."""
    with StopSignals(deadline_s=FAR_S).installed() as signals:
        # When two signals come
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)
        # Then a wait is over at once, and the first of them is remembered
        assert signals.wait_s(FAR_S) is True
        assert (signals.first, signals.count) == (number, 2)


def test_without_a_signal_a_wait_runs_its_time() -> None:
    """Nothing asked to stop."""
    with StopSignals().installed() as signals:
        assert signals.wait_s(0.0) is False
        assert signals.first is None


def test_the_deadline_goes_with_the_block() -> None:
    """The alarm is set for the deadline while the block runs, and neither it nor a handler is left behind."""
    # Given the process as it is, with an alarm of somebody else's, such as a test's own time limit
    numbers = (signal.SIGINT, signal.SIGTERM, DEADLINE)
    before = [signal.getsignal(number) for number in numbers]
    others_s, _ = signal.getitimer(signal.ITIMER_REAL)
    # When a block with a deadline runs
    with StopSignals(deadline_s=FAR_S).installed():
        left_s, _ = signal.getitimer(signal.ITIMER_REAL)
        assert others_s < left_s <= FAR_S
    # Then all is as it was
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) == (others_s > 0)
    assert signal.getitimer(signal.ITIMER_REAL)[0] <= others_s
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_deadline_that_no_timer_holds_is_no_fault() -> None:
    """A deadline in the far future is as good as none."""
    with StopSignals(deadline_s=1e300).installed() as signals:
        assert signals.first is None


def test_without_a_deadline_the_alarm_is_not_touched() -> None:
    """Somebody else's alarm stays theirs."""
    handler, (others_s, _) = signal.getsignal(DEADLINE), signal.getitimer(signal.ITIMER_REAL)
    with StopSignals().installed():
        assert signal.getsignal(DEADLINE) == handler
        assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) == (others_s > 0)
