"""One picture at the bottom of a terminal, overwritten in place.

rich's Live erases all lines of a picture before it draws them anew. A terminal reads such a drawing in pieces of some
kilobytes, so between two pieces half of the picture is gone: that is what people see as flicker. Here each line is
written over the old one and only what is left behind its end is erased.
"""

from __future__ import annotations

from rich.console import RenderableType

from benchrunner.reporting.console import SteadyConsole

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
ERASE_REST_OF_LINE, ERASE_BELOW, CLEAR_SCREEN = "\x1b[K", "\x1b[J", "\x1b[2J\x1b[H"


class LiveFrame:
    """The picture on one terminal. One thread; `console` must be a terminal. Raises what writing raises.

    Pictures are given one column less than the terminal has: erasing behind a full line takes its last character.
    """

    def __init__(self, console: SteadyConsole) -> None:
        self._console = console
        self._height = 0  # lines of the picture that stands; the cursor is at the end of its last
        self._size = (0, 0)  # of the terminal it was drawn on
        self._picture: list[str] = []

    @property
    def width(self) -> int:
        """Return the cells a line may have."""
        return max(1, self._console.width - 1)

    @property
    def height(self) -> int:
        """Return the lines a picture may have."""
        return max(1, self._console.height - 1)

    def start(self) -> None:
        """Hide the cursor."""
        self._write(HIDE_CURSOR)

    def draw(self, picture: RenderableType) -> None:
        """Put `picture` in the place of the last one; what does not fit the screen is left out at its end."""
        lines = self._lines(picture)[: self.height]
        self._write(self._to_top() + self._over(lines))
        self._picture = lines

    def print_above(self, words: RenderableType) -> None:
        """Print something that stays, above the picture."""
        said = "".join(f"{line}{ERASE_REST_OF_LINE}\n" for line in self._lines(words))
        self._write(self._to_top() + said + self._over(self._picture))

    def stop(self) -> None:
        """Leave the last picture where it is, with the cursor below it."""
        self._write(("\n" if self._height else "") + SHOW_CURSOR)
        self._height, self._picture = 0, []

    def _lines(self, what: RenderableType) -> list[str]:
        with self._console.capture() as captured:
            self._console.print(what, width=self.width)
        return captured.get().rstrip("\n").split("\n")

    def _to_top(self) -> str:
        size = self._console.size
        if self._height and size != self._size:
            # The terminal has folded the old lines anew; nobody can tell where the first one is.
            self._size = size
            return CLEAR_SCREEN
        self._size = size
        return "\r" + (f"\x1b[{self._height - 1}A" if self._height > 1 else "")

    def _over(self, lines: list[str]) -> str:
        self._height = len(lines)
        return "\n".join(f"{line}{ERASE_REST_OF_LINE}" for line in lines) + ERASE_BELOW

    def _write(self, text: str) -> None:
        if self._console.quiet:
            return
        try:
            self._console.file.write(text)
            self._console.file.flush()
        except BrokenPipeError:
            self._console.on_broken_pipe()
