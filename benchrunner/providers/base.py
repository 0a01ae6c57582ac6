"""What a chat provider is to the rest of the program: one blocking call that always comes back as a CallResult."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from benchrunner.records import CallResult, ChatRequest, Key, ModelEntry


class ChatProvider(Protocol):
    """One service in its own dialect. Any thread may call it; calls at one time go over connections of their own."""

    def warm(self) -> None:
        """Return with a connection open for this thread's next call, made anew if an idle one was dropped.

        Called before a permit is taken, so that at the permit's instant only the request itself has to travel. A
        connection that cannot be made is no error here: the `send` that follows meets the same failure, classified.
        """
        ...

    def send(
        self,
        request: ChatRequest,
        *,
        model: ModelEntry,
        deployment: str,
        key: Key,
        timeout_s: float,
        departed: Callable[[float], None] | None = None,
    ) -> CallResult:
        """Return how one attempt ended, at most `timeout_s` after it began (looking up a host name may add to it).

        `departed` is told, in this thread, the monotonic instant at which the request's last byte went to the kernel.
        Never raises for anything the network or the provider does, and never tries twice.
        """
        ...

    def close(self) -> None:
        """Drop every idle connection. The provider is not used afterwards."""
        ...
