"""The console everything is printed on: colour on a terminal, plain text elsewhere, silence when nobody reads."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import IO

from rich.console import Console


class SteadyConsole(Console):
    """A console that falls silent when its reader goes away (`| head`, a closed terminal); a run goes on."""

    def on_broken_pipe(self) -> None:
        """Write no more, here or when the interpreter flushes its streams on the way out."""
        self.quiet = True
        # A stream without a descriptor (a test's) has nothing the interpreter could flush.
        with suppress(OSError):
            descriptor = self.file.fileno()
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, descriptor)
            os.close(devnull)


def console_for(stream: IO[str], *, width: int | None = None) -> SteadyConsole:
    """Return a console on `stream`: colour on a terminal without NO_COLOR, plain text elsewhere.

    `width` None: the terminal's, else COLUMNS, else 80.
    """
    console = SteadyConsole(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not console.is_terminal or os.environ.get("NO_COLOR"):
        return SteadyConsole(
            file=stream, width=width, highlight=False, markup=False, emoji=False, color_system=None, no_color=True
        )
    return console
