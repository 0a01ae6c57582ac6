"""What the HTTP stack raises, and what it is taken for."""

from __future__ import annotations

import http.client
import socket
import ssl

import pytest
import requests
import urllib3

from benchrunner.providers.classify import classify_exception
from benchrunner.providers.connections import NETWORK_ERRORS, Line, OversizedBodyError, find_way
from benchrunner.records import Outcome
from benchrunner.testing import FakeClock

SECRET = "sk-test-0123456789abcdef"


def _caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def _unreachable(cause: Exception) -> Exception:
    """Return what requests raises around a failed connect: the cause sits three wrappers deep."""
    failed = _caused(urllib3.exceptions.NewConnectionError(None, f"failed: {cause}"), cause)  # type: ignore[arg-type]
    return requests.ConnectionError(urllib3.exceptions.MaxRetryError(None, "/v1", failed))  # type: ignore[arg-type]


def _aborted(cause: Exception) -> Exception:
    return requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", cause))


KINDS = [
    ("refused", Outcome.TRANSIENT, _unreachable(ConnectionRefusedError(111, "Connection refused"))),
    ("dns", Outcome.TRANSIENT, _unreachable(socket.gaierror(-2, "Name or service not known"))),
    ("connect_timeout", Outcome.TRANSIENT, requests.ConnectTimeout(urllib3.exceptions.ConnectTimeoutError())),
    (
        "disconnected",
        Outcome.TRANSIENT,
        _aborted(http.client.RemoteDisconnected("Remote end closed connection without response")),
    ),
    ("reset", Outcome.TRANSIENT, _aborted(ConnectionResetError(104, "Connection reset by peer"))),
    ("read_timeout", Outcome.TRANSIENT, requests.ReadTimeout("Read timed out.")),
    ("read_timeout", Outcome.TRANSIENT, TimeoutError("the call's time is up")),
    (
        "torn_body",
        Outcome.TRANSIENT,
        urllib3.exceptions.ProtocolError("Connection broken", urllib3.exceptions.IncompleteRead(10, 20)),
    ),
    ("torn_body", Outcome.TRANSIENT, _aborted(http.client.BadStatusLine("garbage"))),
    ("body_too_large", Outcome.TRANSIENT, OversizedBodyError(8)),
    ("proxy", Outcome.TRANSIENT, requests.exceptions.ProxyError("tunnel refused")),
    (
        "tls_certificate",
        Outcome.BAD_REQUEST,
        requests.exceptions.SSLError(
            urllib3.exceptions.MaxRetryError(
                None,  # type: ignore[arg-type]
                "/",
                urllib3.exceptions.SSLError(ssl.SSLCertVerificationError(1, "certificate verify failed")),
            )
        ),
    ),
    ("tls", Outcome.TRANSIENT, requests.exceptions.SSLError(ssl.SSLEOFError(8, "EOF in violation of protocol"))),
    ("invalid_url", Outcome.BAD_REQUEST, requests.exceptions.MissingSchema("Invalid URL 'host/v1'")),
    ("connection", Outcome.TRANSIENT, OSError(113, "No route to host")),
]


@pytest.mark.parametrize(("code", "outcome", "error"), KINDS, ids=[f"{kind[0]}-{i}" for i, kind in enumerate(KINDS)])
def test_exception_becomes_its_outcome(code: str, outcome: Outcome, error: Exception) -> None:
    """Whatever the stack raises has a short name of its kind, however deep its cause is wrapped."""
    # Given an exception as the stack raises it; When classified
    result = classify_exception(error, latency_s=1.5, secret=SECRET)
    # Then
    assert (outcome, code, None, 1.5) == (result.outcome, result.provider_code, result.http_status, result.latency_s)


def test_secret_in_an_exception_is_masked() -> None:
    """An exception that quotes the request does not carry the secret into the database."""
    # Given / When
    result = classify_exception(OSError(f"bad header Bearer {SECRET}"), secret=SECRET)
    # Then
    assert result.detail == "connection: bad header Bearer ***"


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:9/v1", "https://127.0.0.1:9/v1"])
def test_a_provider_that_is_down_is_named_by_its_place(base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Host and port are what somebody can act on; names of our classes are not."""
    # Given a place where nobody listens, without opening a socket to find out
    def refuse(*_: object, **__: object) -> socket.socket:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(urllib3.util.connection, "create_connection", refuse)
    line = Line(find_way(base_url, 1.0), FakeClock())
    # When connecting ahead of a request fails, and a request does
    said = []
    for act in (line.warm, lambda: line.post(f"{base_url}/chat/completions", {}, b"{}", 1.0)):
        with pytest.raises(NETWORK_ERRORS) as failed:
            act()
        said.append(classify_exception(failed.value).detail)
    # Then both say where
    assert said[0] == "refused: 127.0.0.1:9: Failed to establish a new connection: [Errno 111] Connection refused"
    assert said[1].startswith("refused: 127.0.0.1:9: Max retries exceeded with url: /v1/chat/completions")
    assert [word for words in said for word in ("Pool", "_TLS", "HTTPConnection") if word in words] == []
