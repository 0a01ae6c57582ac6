"""Numbers on a command line, refused in words that say what may stand there."""

from __future__ import annotations

from math import inf, isfinite

import click


class Number(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """An option that takes a whole number, or any number where `kind` is float; the bounds may be given too."""

    name = "n"  # what help shows for it, in capitals

    def __init__(self, kind: type[int] | type[float], *, at_least: float = -inf, at_most: float = inf) -> None:
        """Refuse what is outside the two bounds, and always nan and the infinite."""
        self._kind, self._at_least, self._at_most = kind, at_least, at_most

    def convert(
        self, value: object, parameter: click.Parameter | None, context: click.Context | None
    ) -> float:
        """Return the number, of the kind asked for. Raises BadParameter for what is none, or out of bounds."""
        number = self._read(str(value))
        if number is None:
            self.fail(f"{value!r} is no {'whole ' if self._kind is int else ''}number", parameter, context)
        if not self._at_least <= number <= self._at_most:
            self.fail(f"must be {self._bounds}, not {number}", parameter, context)
        return number

    def _read(self, text: str) -> float | None:
        try:
            number = self._kind(text)
            return number if isfinite(number) else None
        except (ValueError, OverflowError):  # words, or more digits than any number here may have
            return None

    @property
    def _bounds(self) -> str:
        return f"at least {self._at_least:,}" if self._at_most == inf else f"{self._at_least:,} to {self._at_most:,}"
