"""How long a provider asks us to wait, read from wherever it says so. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_UNIT_S = {"ms": 0.001, "m": 60.0, "s": 1.0, "h": 3600.0, "d": 86400.0}
_UNIT = r"(?:milliseconds?|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z])"
_COMPACT_UNIT = r"(?:ms|s|m|h|d)"
_AMOUNT = r"\d{1,13}(?:\.\d{1,9})?"
# "42 seconds", "1 minute 30 seconds", "6m0s", "20ms", and a bare number, which is seconds.
_DURATION = rf"(?:{_AMOUNT}\s*(?:{_UNIT}|{_COMPACT_UNIT}(?=\d))[\s,]*(?:and\s+)?)+|{_AMOUNT}"
_DURATION_PART = re.compile(rf"({_AMOUNT})\s*([a-z]*)", re.IGNORECASE)
_WHOLE_DURATION = re.compile(rf"\s*(?:{_DURATION})\s*", re.IGNORECASE)
_WAIT_TEXT = re.compile(
    rf"\b(?:wait|retry\s+after|retry\s+in|try\s+again\s+(?:in|after)|available\s+in)[\s:]+"
    rf"(?:for\s+|about\s+|at\s+least\s+)*({_DURATION})",
    re.IGNORECASE,
)
_EPOCH_FLOOR_S = 1e9  # a reset header above this is an instant, not a duration
_EPOCH_FLOOR_MS = 1e12


def classify_wait_text(text: str) -> float | None:
    """Return the seconds a sentence such as "please wait 42 seconds" asks for, None where it asks for none."""
    match = _WAIT_TEXT.search(text)
    return _duration_s(match.group(1)) if match else None


def choose_retry_after_s(headers: Mapping[str, str], text: str, *, now_epoch_s: float | None) -> float | None:
    """Return the seconds a refused caller is asked to wait, None when nothing says.

    `headers` has lower-case names. The most explicit source wins: retry-after-ms, Retry-After, the sentence in the
    body, then the reset headers of the windows that are used up. Dates are read against the response's own Date, so
    that a wrong clock here does not matter; `now_epoch_s` stands in where the response carries none.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000.0
    received_epoch_s = _date_epoch_s(headers.get("date", ""))
    if received_epoch_s is None:
        received_epoch_s = now_epoch_s
    asked = headers.get("retry-after", "").strip()
    if asked:
        if _WHOLE_DURATION.fullmatch(asked):
            return _duration_s(asked)
        until_epoch_s = _date_epoch_s(asked)
        if until_epoch_s is not None and received_epoch_s is not None:
            return max(0.0, until_epoch_s - received_epoch_s)
    from_text = classify_wait_text(text)
    if from_text is not None:
        return from_text
    return _reset_s(headers, received_epoch_s)


def _reset_s(headers: Mapping[str, str], received_epoch_s: float | None) -> float | None:
    resets: list[float] = []
    for what in ("requests", "tokens", ""):
        suffix = f"-{what}" if what else ""
        remaining = _number(headers.get(f"x-ratelimit-remaining{suffix}", ""))
        if remaining is not None and remaining > 0:
            continue  # this window still has room: its reset says nothing about the refusal
        reset = headers.get(f"x-ratelimit-reset{suffix}", "").strip()
        if not _WHOLE_DURATION.fullmatch(reset):
            continue
        seconds = _epoch_number(reset)
        if seconds is None:
            resets.append(_duration_s(reset))
        elif received_epoch_s is not None:
            resets.append(max(0.0, seconds - received_epoch_s))
    return max(resets, default=None)


def _epoch_number(text: str) -> float | None:
    value = float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else 0.0
    if value >= _EPOCH_FLOOR_MS:
        return value / 1000.0
    return value if value >= _EPOCH_FLOOR_S else None


def _number(text: str) -> float | None:
    text = text.strip()
    # A pattern, not float(): "nan" and "inf" are no waits.
    return float(text) if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", text) else None


def _duration_s(text: str) -> float:
    total_s = 0.0
    for amount, unit in _DURATION_PART.findall(text):
        unit = unit.lower()
        if unit.startswith(("ms", "milli")):
            scale = _UNIT_S["ms"]
        else:
            scale = _UNIT_S[unit[0]] if unit and unit[0] in _UNIT_S else 1.0
        total_s += float(amount) * scale
    return total_s


def _date_epoch_s(text: str) -> float | None:
    if not text:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
