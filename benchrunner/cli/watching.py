"""Shows something again and again: in place on a terminal, block after block elsewhere, until somebody stops it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from benchrunner.clock import SystemClock
from benchrunner.engine.signals import StopSignals
from benchrunner.reporting.console import SteadyConsole
from benchrunner.reporting.live_frame import LiveFrame
from benchrunner.reporting.tables import show
from benchrunner.reporting.wording import duration_text

Look = Callable[[], Sequence[RenderableType]]


def watch_in(console: SteadyConsole, look: Look, every_s: float) -> int:
    """Show what `look` returns every `every_s` seconds and return the exit code: 0 for Ctrl-C, 143 for SIGTERM.

    Also 0 when the reader goes away. Whatever `look` raises is raised with the terminal as it was.
    """
    # Signals are waited for, not thrown: none can land between two halves of a drawing.
    with StopSignals().installed() as signals:
        if console.is_terminal and not console.is_dumb_terminal:
            _in_place(console, look, every_s, signals)
        else:
            _block_by_block(console, look, every_s, signals)
        return 128 + signal.SIGTERM if signals.first == signal.SIGTERM else 0


def _in_place(console: SteadyConsole, look: Look, every_s: float, signals: StopSignals) -> None:
    head = f"every {duration_text(every_s)}; Ctrl-C ends"
    frame = LiveFrame(console)
    try:
        frame.start()
        while not signals.count and not console.quiet:
            frame.draw(Group(_stamp(head), *_spaced(look())))
            signals.wait_s(every_s)
    finally:
        frame.stop()


def _block_by_block(console: SteadyConsole, look: Look, every_s: float, signals: StopSignals) -> None:
    while not signals.count and not console.quiet:
        first, *others = look()
        show(console, [Group(_stamp(), first), *others])
        console.print()
        console.file.flush()
        signals.wait_s(every_s)


def _stamp(after: str = "") -> Text:
    return Text.assemble(f"{SystemClock().utc()[:19]}Z", (f"  {after}" if after else "", "dim"))


def _spaced(parts: Sequence[RenderableType]) -> list[RenderableType]:
    return [line for number, part in enumerate(parts) for line in ((Text(), part) if number else (part,))]
