"""What stands before every page: only the names we are served under are answered, and nothing outside is loaded.

A page of any site in the user's browser may send requests to this machine. One that makes its own name point here (DNS
rebinding) could read the answers; the Host header gives it away. And a transcript is text of a model: should a mark of
it ever get through unescaped, the policy keeps the page from calling out.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY: Final = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    (b"content-security-policy", _POLICY),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
)
_REFUSED: Final = b"benchrunner browse answers only requests to the host it was started for\n"


def guarded(application: Application, hosts: Iterable[str] | None) -> Application:
    """Return `application` behind the guard. `hosts`: the names it answers to, without port; None: any."""
    known = None if hosts is None else frozenset(host.lower() for host in hosts)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return

        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        if known is not None and _host(scope) not in known:
            await send_guarded(
                {"type": "http.response.start", "status": 421, "headers": [(b"content-type", b"text/plain")]}
            )
            await send_guarded({"type": "http.response.body", "body": _REFUSED})
            return
        await application(scope, receive, send_guarded)

    return answer


def _host(scope: Scope) -> str:
    value = next((value for name, value in scope.get("headers", ()) if name == b"host"), b"")
    return re.sub(r":\d+$", "", value.decode("latin-1").lower())
