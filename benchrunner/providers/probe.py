"""A provider for one call that is looked at closely: it also keeps what the response says about limits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from benchrunner.clock import Clock
from benchrunner.providers.chat import HttpChatProvider
from benchrunner.providers.classify import mask
from benchrunner.providers.connections import Line, Lines, Place, Received, find_way
from benchrunner.records import Provider

_LIMIT_HEADER = re.compile(r"(x-)?(ms-)?ratelimit-|retry-after")
_SHOWN_HEADERS, _SHOWN_CHARACTERS = 20, 120


class ProbingProvider(HttpChatProvider):
    """An HttpChatProvider for one thread that keeps the limit headers of its last response."""

    def __init__(self, provider: Provider, *, clock: Clock) -> None:
        """Talk to `provider`; nothing is opened before the first `warm` or `send`."""
        super().__init__(provider, clock=clock)
        self._only = _OnlyLine(find_way(provider.base_url, provider.connect_timeout_s), clock)
        self._lines = self._only

    def limit_headers(self, secret: str) -> tuple[tuple[str, str], ...]:
        """Return (name, value) of every header of the last response that speaks of limits, `secret` masked.

        In the order received, names in lower case; () before the first response.
        """
        named = ((name.lower(), value) for name, value in self._only.the_line.headers.items())
        told = ((name, value) for name, value in named if _LIMIT_HEADER.match(name))
        kept = [(name, mask(value, secret, limit=_SHOWN_CHARACTERS)) for name, value in told]
        return tuple(kept[:_SHOWN_HEADERS])


class _NotingLine(Line):
    """A line that remembers the headers of what it received last."""

    headers: Mapping[str, str] = {}

    def post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
        departed: Callable[[float], None] | None = None,
    ) -> Received:
        """Return the whole response; see Line.post."""
        received = super().post(url, headers, body, timeout_s, departed)
        self.headers = received.headers
        return received


class _OnlyLine(Lines):
    """The lines of a provider that a single thread uses."""

    def __init__(self, place: Place, clock: Clock) -> None:
        super().__init__(place, clock)
        self.the_line = _NotingLine(place, clock)

    def line(self) -> Line:
        """Return the one there is."""
        return self.the_line

    def close(self) -> None:
        """Close its connection."""
        self.the_line.close()
