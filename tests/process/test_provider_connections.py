"""Connections against servers that behave as servers do: slow, silent, torn, gone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from benchrunner.clock import SystemClock
from benchrunner.providers.chat import HttpChatProvider
from benchrunner.records import CallResult, ChatRequest, Key, Message, ModelEntry, Outcome, Provider

pytestmark = pytest.mark.slow

MODEL = ModelEntry(name="m", provider="lab", key_id="key0", deployments=("m",), limits=())
KEY = Key(key_id="key0", provider="lab", account="lab", secret="sk-secret", fingerprint="f0", limits=())
REQUEST = ChatRequest(messages=(Message(role="user", content="hello"),))
BODY = b'{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
CLOCK = SystemClock()


class Peer:
    """A server's side of connections: a script runs on each, in a thread, until it returns."""

    def __init__(self, script: Callable[[Peer, socket.socket], None]) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = self._listener.getsockname()[1]
        self.accepted = 0
        self.over = threading.Event()  # the test is done: scripts must return
        self.closed_one = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            thread = threading.Thread(target=self._run, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _run(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # a client may hang up first, as it should where its time is up
            connection.settimeout(10.0)
            self._script(self, connection)
        self.closed_one.set()

    def stop(self) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10.0)
            assert not thread.is_alive()


@contextmanager
def _peer(script: Callable[[Peer, socket.socket], None]) -> Iterator[Peer]:
    peer = Peer(script)
    try:
        yield peer
    finally:
        peer.stop()


def _read_request(connection: socket.socket) -> bytes:
    """Return one whole request, or b"" when the client has hung up."""
    text = b""
    while b"\r\n\r\n" not in text:
        chunk = connection.recv(65_536)
        if not chunk:
            return b""
        text += chunk
    head, _, body = text.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def _provider(peer: Peer) -> HttpChatProvider:
    return HttpChatProvider(Provider(name="lab", kind="openai", base_url=f"http://127.0.0.1:{peer.port}/v1"))


def _send(provider: HttpChatProvider, timeout_s: float = 5.0) -> CallResult:
    return provider.send(REQUEST, model=MODEL, deployment="m", key=KEY, timeout_s=timeout_s)


def _answer_all(peer: Peer, connection: socket.socket) -> None:
    while _read_request(connection):
        connection.sendall(HEAD % len(BODY) + BODY)


def test_connection_is_opened_before_it_is_needed_and_kept() -> None:
    """Warming connects, once; all calls of the thread then go over that connection."""
    # Given a server
    with _peer(_answer_all) as peer:
        provider = _provider(peer)
        # When a thread warms twice and calls three times
        provider.warm()
        provider.warm()
        results = [_send(provider).outcome for _ in range(3)]
        provider.close()
        # Then
        assert results == [Outcome.OK] * 3
        assert peer.accepted == 1


def test_calls_one_after_the_other_share_a_connection_whichever_thread_makes_them() -> None:
    """Thirty dialogues of which one sends at a time need one connection."""
    # Given a server
    with _peer(_answer_all) as peer:
        provider = _provider(peer)
        outcomes: list[Outcome] = []
        # When five threads call, each when the one before has its reply
        for _ in range(5):
            thread = threading.Thread(target=lambda: outcomes.append(_send(provider).outcome))
            thread.start()
            thread.join(10.0)
        provider.close()
        # Then one connection has served them all
        assert outcomes == [Outcome.OK] * 5
        assert peer.accepted == 1


def test_connection_opened_ahead_of_a_permit_is_nobody_elses_before_the_reply() -> None:
    """Who warmed one waits for its instant; another thread that calls meanwhile gets another."""
    # Given a thread that has opened a connection, and has not called yet
    with _peer(_answer_all) as peer:
        provider = _provider(peer)
        provider.warm()
        # When another thread calls
        other = threading.Thread(target=lambda: _send(provider))
        other.start()
        other.join(10.0)
        # Then it had a connection of its own, and the first call goes over the one that was opened for it
        assert peer.accepted == 2
        assert _send(provider).outcome is Outcome.OK
        assert peer.accepted == 2
        provider.close()


def test_each_thread_has_a_connection_of_its_own() -> None:
    """Two threads at once never wait for each other's connection."""
    # Given a server that answers only when both requests are in
    both = threading.Barrier(2, timeout=10.0)

    def together(peer: Peer, connection: socket.socket) -> None:
        _read_request(connection)
        both.wait()
        connection.sendall(HEAD % len(BODY) + BODY)
        peer.over.wait(10.0)

    with _peer(together) as peer:
        provider = _provider(peer)
        outcomes: list[Outcome] = []
        threads = [threading.Thread(target=lambda: outcomes.append(_send(provider).outcome)) for _ in range(2)]
        # When two threads call
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10.0)
        provider.close()
        # Then both are answered
        assert outcomes == [Outcome.OK, Outcome.OK]
        assert peer.accepted == 2


def test_connection_dropped_while_idle_is_made_anew_by_warming() -> None:
    """A server that hangs up between two calls costs neither of them."""

    # Given a server that answers once a connection, then hangs up
    def once(peer: Peer, connection: socket.socket) -> None:
        _read_request(connection)
        connection.sendall(HEAD % len(BODY) + BODY)

    with _peer(once) as peer:
        provider = _provider(peer)
        first = _send(provider)
        assert peer.closed_one.wait(10.0)
        # When the thread warms again and calls
        provider.warm()
        second = _send(provider)
        provider.close()
        # Then both calls are answered, on two connections
        assert (first.outcome, second.outcome) == (Outcome.OK, Outcome.OK)
        assert peer.accepted == 2


def test_hang_up_before_the_first_byte_is_recognisable() -> None:
    """A server that takes the request and closes without a word is transient, and said to have disconnected."""

    def silent(peer: Peer, connection: socket.socket) -> None:
        _read_request(connection)

    # Given such a server; When called
    with _peer(silent) as peer:
        result = _send(_provider(peer))
    # Then nothing was tried again behind the caller's back
    assert (result.outcome, result.provider_code, peer.accepted) == (Outcome.TRANSIENT, "disconnected", 1)


def _dribble_headers(peer: Peer, connection: socket.socket) -> None:
    _read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not peer.over.wait(0.02):
        connection.sendall(b"x")


def _dribble_body(peer: Peer, connection: socket.socket) -> None:
    _read_request(connection)
    connection.sendall(HEAD % 1_000_000)
    while not peer.over.wait(0.02):
        connection.sendall(b" ")


def _say_nothing(peer: Peer, connection: socket.socket) -> None:
    _read_request(connection)
    peer.over.wait(10.0)


@pytest.mark.parametrize("script", [_dribble_headers, _dribble_body, _say_nothing])
def test_call_ends_at_its_deadline_however_the_server_dribbles(script: Callable[[Peer, socket.socket], None]) -> None:
    """A byte now and then keeps no call alive: the whole call has `timeout_s`, and the connection is not used again."""
    # Given a server that never finishes an answer
    with _peer(script) as peer:
        provider = _provider(peer)
        started_s = CLOCK.now_s()
        # When called with 0.4 s to live
        result = _send(provider, timeout_s=0.4)
        took_s = CLOCK.now_s() - started_s
        # Then it ends then (and far below the 10 s after which this server would stop)
        assert (result.outcome, result.provider_code) == (Outcome.TRANSIENT, "read_timeout")
        assert 0.4 <= took_s < 5.0
        provider.close()


BROKEN = [
    ("cut body", HEAD % 500 + BODY, "torn_body"),
    ("no HTTP at all", b"SSH-2.0-OpenSSH_9.6\r\n", "torn_body"),
    ("chunked body cut", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{", "torn_body"),
    ("lying gzip", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", "torn_body"),
    ("endless body", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (8 * 1024 * 1024 + 10), "body_too_large"),
    ("torn JSON", HEAD % 20 + BODY[:20], "not_json"),
]


@pytest.mark.parametrize(("sent", "code"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_broken_answer_is_transient_and_named(sent: bytes, code: str) -> None:
    """Torn, endless and senseless answers are results, and the next call gets a sound connection."""
    broken = threading.Event()

    # Given a server whose first answer is broken
    def first_broken(peer: Peer, connection: socket.socket) -> None:
        if not broken.is_set():
            broken.set()
            _read_request(connection)
            connection.sendall(sent)
        else:
            _answer_all(peer, connection)

    with _peer(first_broken) as peer:
        provider = _provider(peer)
        # When called twice
        first = _send(provider)
        assert peer.closed_one.wait(10.0)
        second = _send(provider)
        provider.close()
    # Then
    assert (Outcome.TRANSIENT, code, Outcome.OK) == (first.outcome, first.provider_code, second.outcome)


def test_redirect_is_not_followed() -> None:
    """The key is not carried to another place."""

    def elsewhere(peer: Peer, connection: socket.socket) -> None:
        while _read_request(connection):
            connection.sendall(
                b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/v1\r\nContent-Length: 0\r\n\r\n"
            )

    # Given a server that redirects; When called
    with _peer(elsewhere) as peer:
        provider = _provider(peer)
        result = _send(provider)
        provider.close()
    # Then
    assert (result.outcome, result.http_status) == (Outcome.BAD_REQUEST, 307)
    assert "redirects to 127.0.0.1:1" in result.detail


def test_nobody_listening_is_transient_and_warming_is_silent_about_it() -> None:
    """An unreachable provider is a classified result of the call, not an exception of the warming."""
    # Given a port that nobody listens on
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    provider = HttpChatProvider(Provider(name="lab", kind="openai", base_url=f"http://127.0.0.1:{port}/v1"))
    # When warmed and called
    provider.warm()
    result = _send(provider)
    # Then
    assert (result.outcome, result.provider_code, result.http_status) == (Outcome.TRANSIENT, "refused", None)


def test_loopback_never_goes_through_a_proxy_and_netrc_is_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Neither a proxy in the environment nor ~/.netrc touches a call to this machine."""
    # Given a proxy that is not there, and credentials for this host in ~/.netrc
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    seen: list[bytes] = []

    def note(peer: Peer, connection: socket.socket) -> None:
        seen.append(_read_request(connection))
        connection.sendall(HEAD % len(BODY) + BODY)

    # When called
    with _peer(note) as peer:
        result = _send(_provider(peer))
    # Then the call goes there directly, under the configured key
    assert Outcome.OK is result.outcome
    assert seen[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"Authorization: Bearer sk-secret\r\n" in seen[0]


def test_other_places_are_reached_through_the_environment_s_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy, warming opens the connection to it and the call goes through it, deadline included."""
    seen: list[bytes] = []

    def forward(peer: Peer, connection: socket.socket) -> None:
        while request := _read_request(connection):
            seen.append(request)
            connection.sendall(HEAD % len(BODY) + BODY)

    # Given a proxy in the environment
    with _peer(forward) as peer:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{peer.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        provider = HttpChatProvider(Provider(name="lab", kind="openai", base_url="http://lab.invalid/v1"))
        # When warmed and called twice
        provider.warm()
        results = [_send(provider).outcome for _ in range(2)]
        provider.close()
        # Then both went over the one connection to the proxy
        assert results == [Outcome.OK, Outcome.OK]
        assert peer.accepted == 1
    assert seen[0].startswith(b"POST http://lab.invalid/v1/chat/completions HTTP/1.1\r\n")
