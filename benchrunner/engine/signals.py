"""SIGINT and SIGTERM as bytes the supervisor's wait can see: the first asks to drain, a second to end at once."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from types import FrameType


class StopSignals:
    """Counts the signals that came; `waker` becomes readable with each."""

    def __init__(self) -> None:
        """Install nothing yet; use as ``with stop_signals() as signals``."""
        self.waker, self._bell = socket.socketpair()
        self.waker.setblocking(False)
        self._bell.setblocking(False)
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

    @contextlib.contextmanager
    def installed(self) -> Iterator[StopSignals]:
        """Answer both signals while the block runs; only the main thread may enter."""
        previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        previous_fd = signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        try:
            yield self
        finally:
            signal.set_wakeup_fd(previous_fd)
            for number, handler in previous.items():
                signal.signal(number, handler)
            self.waker.close()
            self._bell.close()
