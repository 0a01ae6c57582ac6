"""SIGINT and SIGTERM as bytes the supervisor's wait can see: the first asks to drain, a second to end at once.

A deadline is a third such signal: the kernel's alarm, so that it falls also where nobody looks at a clock.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
from collections.abc import Iterator
from types import FrameType

DEADLINE = signal.SIGALRM
"""What `first` holds when it was the deadline that asked to stop."""

FARTHEST_S = 1e8
"""Three years: a deadline beyond it is none that a kernel's timer need know."""


class StopSignals:
    """Counts the signals that came; `waker` becomes readable with each."""

    def __init__(self, *, deadline_s: float = 0.0) -> None:
        """Install nothing yet; use as ``with StopSignals().installed() as signals``.

        `deadline_s`: seconds after installing at which to ask for a drain, as SIGTERM does; 0.0: never.
        """
        self.waker, self._bell = socket.socketpair()
        self.waker.setblocking(False)
        self._bell.setblocking(False)
        self._deadline_s = min(deadline_s, FARTHEST_S)
        self.count = 0
        self.first: int | None = None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.first is None:
            self.first = number

    def drain_waker(self) -> None:
        """Empty the waker's buffer."""
        with contextlib.suppress(BlockingIOError):
            while self.waker.recv(64):
                pass

    def wait_s(self, seconds: float) -> bool:
        """Return whether a stop has been asked for, at once if so, else after `seconds` or as soon as it is."""
        if not self.count:
            select.select([self.waker], [], [], seconds)
        return self.count > 0

    @contextlib.contextmanager
    def installed(self) -> Iterator[StopSignals]:
        """Answer the signals while the block runs; only the main thread may enter."""
        answered = (signal.SIGINT, signal.SIGTERM, *((DEADLINE,) if self._deadline_s else ()))
        previous = {number: signal.signal(number, self._note) for number in answered}
        previous_fd = signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        others_alarm = signal.setitimer(signal.ITIMER_REAL, self._deadline_s) if self._deadline_s else None
        try:
            yield self
        finally:
            if others_alarm is not None:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.set_wakeup_fd(previous_fd)
            for number, handler in previous.items():
                signal.signal(number, handler)
            if others_alarm is not None:
                signal.setitimer(signal.ITIMER_REAL, *others_alarm)
            self.waker.close()
            self._bell.close()
