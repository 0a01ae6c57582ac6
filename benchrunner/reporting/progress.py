"""A run's progress on a terminal: one live picture on stderr that always fits the screen."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

from benchrunner.clock import Clock
from benchrunner.records import ProgressSnapshot
from benchrunner.reporting.console import SteadyConsole
from benchrunner.reporting.live_frame import LiveFrame
from benchrunner.reporting.live_picture import Screen, picture
from benchrunner.reporting.wording import printable

SHORTEST_REDRAW_S = 0.25


class LiveProgress:
    """Redraws at most four times a second, whatever `update` is fed. One thread; `console` writes to stderr."""

    wants_every_s = SHORTEST_REDRAW_S

    def __init__(self, console: SteadyConsole, clock: Clock) -> None:
        self._clock = clock
        self._ascii_only = console.options.ascii_only
        self._frame = LiveFrame(console)
        self._drawn_s: float | None = None
        self._pending: ProgressSnapshot | None = None
        self._terminal_gone = False

    def start(self) -> None:
        """Hide the cursor and begin to draw."""
        self._draw(self._frame.start)

    def update(self, snapshot: ProgressSnapshot) -> None:
        """Show `snapshot`, or keep it for later if the last drawing is younger than SHORTEST_REDRAW_S."""
        now_s = self._clock.now_s()
        self._pending = snapshot
        if self._drawn_s is None or now_s - self._drawn_s >= SHORTEST_REDRAW_S:
            self._drawn_s = now_s
            self._draw_pending()

    def line(self, text: str) -> None:
        """Print one event above the picture."""
        self._draw(lambda: self._frame.print_above(Text(printable(text))))

    def stop(self) -> None:
        """Draw the last state, leave it on the screen, and give the cursor back."""
        self._draw_pending()
        self._draw(self._frame.stop)

    def _draw_pending(self) -> None:
        snapshot, self._pending = self._pending, None
        if snapshot is not None:
            screen = Screen(width=self._frame.width, height=self._frame.height, ascii_only=self._ascii_only)
            self._draw(lambda: self._frame.draw(picture(snapshot, screen)))

    def _draw(self, act: Callable[[], object]) -> None:
        if self._terminal_gone:
            return
        # The terminal may close under us (a lost ssh session). The run's results go to the store; it goes on.
        try:
            act()
        except (OSError, ValueError):
            self._terminal_gone = True
