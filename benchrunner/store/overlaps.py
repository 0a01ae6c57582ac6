"""How much happened at once: the fullest window over instants, and the most labels over spans. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_DIGITS = 20  # YYYYMMDDhhmmssffffff
_MINUTE = 10**8  # what one minute more adds to such digits; between minutes they are no measure of time


def instants_us(texts: str) -> list[int]:
    """Return UTC ISO 8601 texts, parted by single spaces, as whole microseconds since 1970, in order.

    Digits alone are turned into numbers, minute by minute: a run of a million calls has no second to spare for a
    million dates. Texts of another form than `utc_text` writes are read one by one.
    """
    digits = sorted(map(int, texts.encode().translate(None, b"-:TZ.").split()))
    if not digits:
        return []
    if not 10 ** (_DIGITS - 1) <= digits[0] <= digits[-1] < 10**_DIGITS:
        return sorted((datetime.fromisoformat(text.rstrip("Z")) - _EPOCH) // _MICROSECOND for text in texts.split())
    found: list[int] = []
    while len(found) < len(digits):
        minute = digits[len(found)] // _MINUTE
        end = bisect_left(digits, (minute + 1) * _MINUTE, len(found))
        starts_us = (datetime.strptime(str(minute), "%Y%m%d%H%M") - _EPOCH) // _MICROSECOND
        shift = starts_us - minute * _MINUTE
        found += [one + shift for one in digits[len(found) : end]]
    return found


def peak(ordered: Sequence[int], width: int) -> int:
    """Return the most instants that any window of `width` holds; two exactly `width` apart share none."""
    most = 0
    for place, first in enumerate(ordered):
        # One look an instant: only a window fuller than the fullest so far is of interest.
        while place + most < len(ordered) and ordered[place + most] - first < width:
            most += 1
    return most


def most_labels_at_once(spans: Sequence[tuple[float, float, str]]) -> int:
    """Return the most different labels among the (start, end, label) spans that share an instant."""
    edges = [(start, 0, label) for start, _, label in spans] + [(end, 1, label) for _, end, label in spans]
    open_spans: defaultdict[str, int] = defaultdict(int)
    most = 0
    for _, is_end, label in sorted(edges):
        if is_end:
            open_spans[label] -= 1
            if not open_spans[label]:
                del open_spans[label]
        else:
            open_spans[label] += 1
            most = max(most, len(open_spans))
    return most
