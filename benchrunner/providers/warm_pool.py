"""What urllib3 lacks for paced calls: a pool that connects ahead of its request, and reads that end with the call."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError

from benchrunner.clock import Clock

_READ_BUFFER_BYTES = 16_384


class Deadline:
    """The instant by which a line's present call must have its last byte."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.at_mono_s = 0.0
        self.departed: Callable[[float], None] | None = None
        """Told when the request's last byte was handed to the kernel, on the monotonic clock."""

    def start(self, timeout_s: float) -> None:
        """Allow `timeout_s` from now."""
        self.at_mono_s = self._clock.now_s() + timeout_s

    def note_departure(self) -> None:
        """Tell whoever asked that the request has left."""
        if self.departed is not None:
            self.departed(self._clock.now_s())

    def left_s(self) -> float:
        """Return the seconds left. Raises TimeoutError when there are none."""
        left_s = self.at_mono_s - self._clock.now_s()
        if left_s <= 0.0:
            raise TimeoutError("the call's time is up")
        return left_s


class _DeadlineReader(io.RawIOBase):
    """A socket's raw reader whose every read gets only what is left of the call.

    A socket timeout starts anew with each received byte: a server that dribbles one header byte a minute would hold a
    dialogue for ever.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._raw, self._sock, self._deadline = raw, sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(self._deadline.left_s())
        read: int | None = self._raw.readinto(buffer)
        return read

    def fileno(self) -> int:
        return self._raw.fileno()

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
            super().close()


class _Named:
    """Is called by its place in the errors urllib3 words: a person who reads them knows no classes of ours."""

    host: str
    port: Any

    def __str__(self) -> str:
        return self.host if self.port is None else f"{self.host}:{self.port}"


class _Connection(_Named, HTTPConnection):
    pass


class HandshakeTimeoutError(ConnectTimeoutError):
    """A connection was taken and did not become a secure one; no request has left."""


class TunnelTimeoutError(HandshakeTimeoutError):
    """The same behind a proxy: its tunnel, or the handshake in it."""


class _TLSConnection(_Named, HTTPSConnection):
    """A TLS connection that is not taken for dropped because its server has sent a session ticket."""

    def connect(self) -> None:
        """Return with the handshake done. Raises what urllib3 raises, but no TimeoutError.

        urllib3 would make a read time-out of that, as if a request had been taken and not answered.
        """
        try:
            super().connect()
        except TimeoutError as error:
            if self.proxy_is_tunneling:
                raise TunnelTimeoutError("neither tunnel nor TLS handshake in time") from error
            raise HandshakeTimeoutError("no TLS handshake in time") from error

    @property
    def is_connected(self) -> bool:
        """Return whether the peer is still there.

        urllib3 takes a readable idle socket for a closed one. Under TLS 1.3 the tickets that follow each handshake make
        it readable too, so every connection opened ahead of its request would be thrown away and made again just when
        the request is due.
        """
        if super().is_connected:
            return True
        sock: Any = self.sock
        if not isinstance(sock, ssl.SSLSocket):
            return False
        timeout_s = sock.gettimeout()
        try:
            sock.settimeout(0.0)
            sock.recv(1)  # takes in the tickets; bytes or an end here mean that the connection is of no use
        except (ssl.SSLWantReadError, BlockingIOError):
            sock.settimeout(timeout_s)
            return True
        except OSError:
            return False
        return False


class _WarmPool(_Named, HTTPConnectionPool):
    """A pool for one call at a time: opens its connection before there is anything to send, and times what it reads.

    `_get_conn`, `_put_conn`, `_new_conn` and `_prepare_proxy` are what urllib3 leaves to subclasses of a pool; there is
    no public way to open a pooled connection without sending a request over it.
    """

    ConnectionCls: Any = _Connection
    deadline: Deadline

    def warm(self, timeout_s: float) -> None:
        """Return with an open connection in the pool. Raises what connecting raises."""
        connection = self._get_conn()  # urllib3 closes it here if the server hung up while it idled
        try:
            if connection.is_closed:
                connection.timeout = timeout_s
                if self.proxy is not None:
                    self._prepare_proxy(connection)  # tunnels and connects where TLS must pass through
                if connection.is_closed:
                    connection.connect()
        except BaseException:
            connection.close()
            raise
        finally:
            self._put_conn(connection)

    def _prepare_proxy(self, connection: Any) -> None:
        # A proxy's answer to CONNECT is a response too, but no request of ours has left for it.
        departed, self.deadline.departed = self.deadline.departed, None
        try:
            super()._prepare_proxy(connection)
        finally:
            self.deadline.departed = departed

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.response_class = self._timed_response
        return connection

    def _timed_response(self, sock: socket.socket, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        # http.client makes the response object when the whole request has been written, before it reads anything.
        self.deadline.note_departure()
        response = http.client.HTTPResponse(sock, *args, **kwargs)
        raw: Any = response.fp
        response.fp = io.BufferedReader(_DeadlineReader(raw.detach(), sock, self.deadline), _READ_BUFFER_BYTES)
        return response


class _WarmTLSPool(_WarmPool, HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class LineAdapter(HTTPAdapter):
    """The transport of one line: a single pool with a single slot."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._pool: _WarmPool | None = None
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> _WarmPool:
        # All requests of a provider go to one place: the look-up, which parses URLs five times over, is made once.
        if self._pool is None:
            for manager in (self.poolmanager, *self._proxy_managers(request, proxies)):
                manager.pool_classes_by_scheme = {"http": _WarmPool, "https": _WarmTLSPool}
            pool: Any = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
            pool.deadline = self._deadline
            self._pool = pool
        return self._pool

    def close(self) -> None:
        # requests leaves the closing to the garbage collector, which waits for our own reference to the pool.
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        super().close()

    def _proxy_managers(self, request: requests.PreparedRequest, proxies: Any) -> tuple[Any, ...]:
        proxy = select_proxy(request.url or "", proxies)
        if not proxy:
            return ()
        return (self.proxy_manager_for(proxy if "://" in proxy else f"http://{proxy}"),)
