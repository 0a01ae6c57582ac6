"""How long, as people write it on a command line: `90`, `45s`, `30m`, `6h`, `1h30m`."""

from __future__ import annotations

import re

import click

_PART = re.compile(r"(\d+(?:\.\d+)?)([hms])")
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0}


def seconds_of(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of a duration option, or None where it is absent.

    A number alone is seconds; else parts with their units, each unit once and the largest first.
    """
    if value is None:
        return None
    text = value.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _PART.findall(text)
    units = [unit for _, unit in parts]
    whole = "".join(number + unit for number, unit in parts)
    if not parts or whole != text or units != sorted(set(units), key="hms".index):
        raise click.BadParameter(f"{value!r} is no duration; write 90, 45s, 30m, 6h or 1h30m")
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)
