"""Connections under TLS 1.3, whose servers speak unasked right after the handshake."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchrunner.clock import SystemClock
from benchrunner.providers.chat import HttpChatProvider
from benchrunner.records import CallResult, ChatRequest, Key, Message, ModelEntry, Outcome, Provider

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl"),
]

MODEL = ModelEntry(name="m", provider="lab", key_id="key0", deployments=("m",), limits=())
KEY = Key(key_id="key0", provider="lab", account="lab", secret="sk-secret", fingerprint="f0", limits=())
BODY = b'{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


class TLSPeer:
    """A TLS server that answers every request it can read in one piece, and counts its connections."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"https://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self.accepted = 0
        self.hang_up = threading.Event()
        self.hung_up = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._threads.append(threading.Thread(target=self._answer, args=(connection,)))
            self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(10.0)
        try:
            with self._context.wrap_socket(connection, server_side=True) as tls:
                while not self.hang_up.is_set() and (text := tls.recv(65_536)):
                    while b'"stream":false}' not in text:
                        text += tls.recv(65_536)
                    tls.sendall(ANSWER)
        except OSError:
            connection.close()  # a client that does not trust the certificate leaves in the handshake
        self.hung_up.set()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(15.0)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
def peer(certificate: tuple[Path, Path]) -> Iterator[TLSPeer]:
    peer = TLSPeer(*certificate)
    yield peer
    peer.stop()


def _send(provider: HttpChatProvider) -> CallResult:
    request = ChatRequest(messages=(Message(role="user", content="hello"),))
    return provider.send(request, model=MODEL, deployment="m", key=KEY, timeout_s=5.0)


def test_tickets_do_not_cost_the_warm_connection(
    peer: TLSPeer, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection warmed well ahead of its permit is the one the request goes over, session tickets or not."""
    # Given a server we trust, and a connection warmed to it
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    provider = HttpChatProvider(Provider(name="lab", kind="openai", base_url=peer.base_url))
    provider.warm()
    # When the server's tickets have had time to arrive, as they do while a permit is waited for
    SystemClock().sleep_s(0.2)
    provider.warm()
    results = [_send(provider).outcome for _ in range(3)]
    provider.close()
    # Then all went over that one connection
    assert results == [Outcome.OK] * 3
    assert peer.accepted == 1


def test_connection_closed_under_tls_is_made_anew(
    peer: TLSPeer, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that really hung up is told from one that only sent tickets."""
    # Given a connection that the server closes after its first answer
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    provider = HttpChatProvider(Provider(name="lab", kind="openai", base_url=peer.base_url))
    peer.hang_up.set()
    provider.warm()
    assert peer.hung_up.wait(10.0)
    peer.hang_up.clear()
    # When the thread warms again and calls
    provider.warm()
    result = _send(provider)
    provider.close()
    # Then
    assert (result.outcome, peer.accepted) == (Outcome.OK, 2)


@pytest.mark.parametrize(("proxied", "code"), [(False, "handshake_timeout"), (True, "tunnel_timeout")])
def test_a_handshake_that_never_ends_is_no_call_that_was_not_answered(
    proxied: bool, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer, or a proxy, that takes the connection and stays silent: connecting timed out, and nothing was sent."""
    # Given a port that takes connections and says nothing
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("HTTPS_PROXY", f"http://{address}")
        monkeypatch.setenv("NO_PROXY", "")
        base_url = "https://lab.invalid/v1" if proxied else f"https://{address}/v1"
        lab = Provider(name="lab", kind="openai", base_url=base_url, connect_timeout_s=0.2)
        provider = HttpChatProvider(lab)
        # When called, its connection warmed before as always
        provider.warm()
        result = _send(provider)
        provider.close()
    # Then
    assert (result.outcome, result.provider_code) == (Outcome.TRANSIENT, code)


def test_what_a_proxy_answers_to_connect_is_no_request_that_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The departure of a call is its own request's: not the tunnel's, and not that of the line's call before."""

    def open_and_close(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked = b""
                while b"\r\n\r\n" not in asked and (more := connection.recv(4_096)):
                    asked += more
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

    # Given a proxy that opens its tunnels and then closes them, so that no TLS handshake in them ever ends
    left: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "")
        proxy = threading.Thread(target=open_and_close, args=(listener,))
        proxy.start()
        provider = HttpChatProvider(Provider(name="lab", kind="openai", base_url="https://lab.invalid/v1"))
        # When it is called through that proxy, and the connection warmed for the next call
        provider.warm()
        hello = ChatRequest(messages=(Message(role="user", content="hello"),))
        result = provider.send(hello, model=MODEL, deployment="m", key=KEY, timeout_s=5.0, departed=left.append)
        provider.warm()
        provider.close()
        listener.shutdown(socket.SHUT_RDWR)
        proxy.join(10.0)
    # Then nothing is said to have left
    assert result.outcome is Outcome.TRANSIENT
    assert left == []


def test_untrusted_certificate_is_a_bad_request(peer: TLSPeer) -> None:
    """No key is sent to a server that cannot prove its name; trying again would not help."""
    # Given a server whose certificate nobody vouches for
    provider = HttpChatProvider(Provider(name="lab", kind="openai", base_url=peer.base_url))
    # When called
    provider.warm()
    result = _send(provider)
    # Then
    assert (result.outcome, result.provider_code) == (Outcome.BAD_REQUEST, "tls_certificate")
