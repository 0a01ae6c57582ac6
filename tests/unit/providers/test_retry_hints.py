"""Where providers say how long to wait, and how it is read."""

from __future__ import annotations

import pytest

from benchrunner.providers.retry_hints import choose_retry_after_s, classify_wait_text

DATE = "Wed, 27 Aug 2025 12:00:00 GMT"
EPOCH_S = 1756296000.0  # the same instant


HINTS = [
    ("seconds", {"retry-after": "7"}, "", 7.0),
    ("fractional seconds", {"retry-after": "0.25"}, "", 0.25),
    ("seconds with a unit", {"retry-after": "1s"}, "", 1.0),
    ("milliseconds outrank seconds", {"retry-after": "1", "retry-after-ms": "350"}, "", 0.35),
    ("date against the response's own", {"retry-after": "Wed, 27 Aug 2025 12:00:30 GMT", "date": DATE}, "", 30.0),
    ("date without one", {"retry-after": "Wed, 27 Aug 2025 12:00:20 GMT"}, "", 20.0),
    ("date in the past", {"retry-after": "Wed, 27 Aug 2025 11:00:00 GMT", "date": DATE}, "", 0.0),
    ("header outranks text", {"retry-after": "7"}, "please wait 42 seconds", 7.0),
    ("unreadable header leaves the text", {"retry-after": "soon"}, "please wait 42 seconds", 42.0),
    ("not a number", {"retry-after": "nan", "retry-after-ms": "inf"}, "", None),
    ("negative", {"retry-after": "-5"}, "", None),
    ("reset of requests", {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}, "", 1.0),
    ("compound reset", {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, "", 360.0),
    ("reset in milliseconds", {"x-ratelimit-reset-requests": "20ms"}, "", 0.02),
    (
        "only the window that is used up speaks",
        {
            "x-ratelimit-remaining-requests": "99",
            "x-ratelimit-reset-requests": "8h",
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": "2s",
        },
        "",
        2.0,
    ),
    ("reset as an instant", {"x-ratelimit-reset": "1756296012", "date": DATE}, "", 12.0),
    ("reset as an instant in ms", {"x-ratelimit-reset": "1756296012500", "date": DATE}, "", 12.5),
    ("nothing", {}, "busy", None),
]


@pytest.mark.parametrize(("headers", "text", "expected"), [case[1:] for case in HINTS], ids=[case[0] for case in HINTS])
def test_hint_is_read_from_its_most_explicit_place(headers: dict[str, str], text: str, expected: float | None) -> None:
    """A wait is read from milliseconds, seconds, dates, sentences and resets, in that order."""
    # Given headers and a text; When read
    found = choose_retry_after_s(headers, text, now_epoch_s=EPOCH_S)
    # Then
    assert expected == (None if found is None else pytest.approx(found))


TEXTS = [
    ("Please wait 42 seconds before retrying.", 42.0),
    ("Please retry after 26 seconds.", 26.0),
    ("Please try again in 6m0s.", 360.0),
    ("try again in 20ms", 0.02),
    ("Try again in 1.2s. Visit the page", 1.2),
    ("retry in 1 minute 30 seconds", 90.0),
    ("wait for 2 hours", 7200.0),
    ("retry after: 3", 3.0),
    ("please try again later", None),
    ("waited 5 seconds", None),
    ("10 requests per 1 second", None),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_sentence_gives_its_seconds(text: str, expected: float | None) -> None:
    """Sentences that ask for a wait give its length; those that do not give none."""
    # Given a sentence; When read
    found = classify_wait_text(text)
    # Then
    assert expected == (None if found is None else pytest.approx(found))
