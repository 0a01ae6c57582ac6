"""What becomes of a key that its provider refuses, whose quota is spent, or that another run holds. Pure."""

from __future__ import annotations

from benchrunner.engine.books import KeyState
from benchrunner.engine.events import KeyTrouble, RefuseKey
from benchrunner.records import Outcome

DENIED_RETRY_S = 1.0

FIRST_PARK_S, LONGEST_OWN_PARK_S = 1.0, 86_400.0
"""Bounds of how long a key with a spent quota rests at the least, when its provider names a shorter time."""


def note_refusal(key: KeyState, event: KeyTrouble, now_s: float) -> RefuseKey | None:
    """Retire or park the key; return what is to be done about it, None: it is out of service already."""
    park_s = event.park_s
    if event.kind is Outcome.AUTH:
        fresh = not key.retired
        key.retired = key.retired or event.detail or "refused"
    else:
        fresh = not key.retired and key.parked_until_s <= now_s
        if fresh:
            # Doubled each time in a row: a spent quota that says "retry in 1 s" for ever must end the run at last.
            park_s = max(park_s, min(FIRST_PARK_S * 2.0**key.parks, LONGEST_OWN_PARK_S))
            key.parks += 1
        key.parked_until_s = max(key.parked_until_s, now_s + park_s)
    if not fresh:
        return None
    return RefuseKey(key_id=key.setup.key_id, kind=event.kind, detail=event.detail, park_s=park_s)


def note_denial(key: KeyState, by: str, now_s: float) -> bool:
    """Leave the key to its holder for a moment; return whether the holder is another than the last time."""
    key.denied_until_s = now_s + DENIED_RETRY_S
    other = by != key.denied_by
    key.denied_by = by
    return other
