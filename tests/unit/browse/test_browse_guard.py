"""What stands before every page."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from benchrunner.browse.guard import guarded
from benchrunner.browse.server import is_loopback

Message = MutableMapping[str, Any]


def ask(host: str | None, hosts: tuple[str, ...] | None) -> list[Message]:
    """Return what a request under that Host header is answered by a guarded application that says "page"."""

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
        await send({"type": "http.response.body", "body": b"page"})

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [] if host is None else [(b"host", host.encode())]
    asyncio.run(guarded(page, hosts)({"type": "http", "headers": headers}, receive, send))
    return sent


@pytest.mark.parametrize("host", ["127.0.0.1:8001", "localhost", "LOCALHOST:1", "[::1]:8001"])
def test_this_machines_own_names_are_answered(host: str) -> None:
    """With and without a port, in any case, IPv6 in brackets."""
    sent = ask(host, ("127.0.0.1", "localhost", "[::1]"))
    assert (sent[0]["status"], sent[1]["body"]) == (200, b"page")


@pytest.mark.parametrize("host", ["evil.example:8001", "127.0.0.1.evil.example", "", None, "[::1].evil"])
def test_a_name_that_was_made_to_point_here_is_refused(host: str | None) -> None:
    """DNS rebinding: the page of another site must not read runs.db through the user's browser."""
    sent = ask(host, ("127.0.0.1", "localhost", "[::1]"))
    assert sent[0]["status"] == 421
    assert b"page" not in sent[1]["body"]


def test_served_to_others_any_name_is_answered() -> None:
    """Under --host 0.0.0.0 nobody can know what this machine is called."""
    assert ask("bench.example:8001", None)[0]["status"] == 200


def test_every_answer_forbids_what_is_loaded_from_elsewhere() -> None:
    """The application's own headers stay; the policy is added."""
    headers = dict(ask("localhost", None)[0]["headers"])
    assert headers[b"x-own"] == b"1"
    assert headers[b"content-security-policy"].startswith(b"default-src 'self';")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("b", False)],
)
def test_loopback_is_told_from_the_rest(host: str, loopback: bool) -> None:
    """It decides who is answered, and whether a warning is due."""
    assert is_loopback(host) is loopback
