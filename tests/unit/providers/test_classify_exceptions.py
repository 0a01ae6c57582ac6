"""What the HTTP stack raises, and what it is taken for."""

from __future__ import annotations

import http.client
import socket
import ssl

import pytest
import requests
import urllib3

from benchrunner.providers.classify import classify_exception
from benchrunner.providers.connections import OversizedBodyError
from benchrunner.records import Outcome

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
