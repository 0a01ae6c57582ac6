"""How long, as people write it on a command line: `90`, `45s`, `30m`, `6h`, `1h30m`."""

from __future__ import annotations

import re
from math import isfinite

import click

WRITTEN = "90 (seconds), 45s, 30m or 1h30m"
"""How a duration is written, for help texts."""

LONGEST_S = 366 * 86_400.0
"""A year: what is longer is a slip, and clocks and sockets take no number of seconds."""

_AMOUNT = r"(?:\d+(?:\.\d*)?|\.\d+)"
_PART = re.compile(rf"({_AMOUNT})([hms])")
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0}


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """An option that takes a duration, and gives its seconds.

    A number alone is seconds; else parts with their units, each unit once and the largest first.
    """

    name = "duration"

    def __init__(self, *, at_least_s: float = 0.0, at_most_s: float = LONGEST_S, above_0: bool = False) -> None:
        """Refuse what is outside the two bounds; with `above_0` also 0 itself."""
        self._at_least_s, self._at_most_s, self._above_0 = at_least_s, at_most_s, above_0

    def convert(
        self, value: object, parameter: click.Parameter | None, context: click.Context | None
    ) -> float:
        """Return the seconds of `value`. Raises BadParameter for what is no duration, or out of bounds."""
        seconds = float(value) if isinstance(value, int | float) else _seconds_of(str(value))
        if seconds is None or not isfinite(seconds):
            self.fail(f"{value!r} is no duration; write {WRITTEN}", parameter, context)
        if self._above_0 and not seconds:
            self.fail(f"must be more than 0 seconds, not {value}", parameter, context)
        if not self._at_least_s <= seconds <= self._at_most_s:
            bounds = f"{self._at_least_s:g} to {self._at_most_s:,.0f} seconds"
            self.fail(f"must be {bounds}, not {value}", parameter, context)
        return seconds


def _seconds_of(value: str) -> float | None:
    text = value.strip().lower()
    if re.fullmatch(_AMOUNT, text):
        return float(text)
    parts = _PART.findall(text)
    units = [unit for _, unit in parts]
    whole = "".join(number + unit for number, unit in parts)
    if not parts or whole != text or units != sorted(set(units), key="hms".index):
        return None
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)
