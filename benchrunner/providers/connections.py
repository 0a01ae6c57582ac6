"""One HTTP connection per call under way: open before its permit's instant, and dead at its call's deadline.

    dialogue thread ── Line ── requests.Session ── adapter ── pool (one slot) ── connection ── socket
                       (lent: from before its permit to its reply)                └─ Deadline: every read asks it

A thread keeps the line it opened ahead of its permit until the reply is in, so nobody takes it away just before the
request is due. The line that came back last is lent first: thirty dialogues of which ten send at a time need ten
connections, and those stay open. Retries are off at every level: an attempt is one attempt, and the engine decides.
"""

from __future__ import annotations

import http.client
import ipaddress
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from benchrunner.clock import Clock
from benchrunner.providers.warm_pool import Deadline, LineAdapter

BODY_LIMIT_BYTES = 8 * 1024 * 1024
USER_AGENT = "benchrunner"

NETWORK_ERRORS: tuple[type[Exception], ...] = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)
"""All that the stack below may raise for what the network, the provider or the configured URL does."""


class OversizedBodyError(OSError):
    """The provider sent more than a chat completion can be; never leaves this room."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body is larger than {limit_bytes} bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a provider is and how one gets there."""

    base_url: str
    connect_timeout_s: float
    proxies: dict[str, str]
    verify: bool | str
    # url -> the request as requests prepares it, without its call's headers and body: preparing costs more than sending
    prepared: dict[str, requests.PreparedRequest] = field(default_factory=dict, compare=False)


def find_way(base_url: str, connect_timeout_s: float) -> Place:
    """Return the way to `base_url`: through the environment's proxy and CA bundle, as for curl; loopback directly.

    Read once, so that a call costs no look at the environment. Nothing of ~/.netrc: a key comes from the config only.
    """
    proxies: dict[str, str] = {}
    verify: bool | str = True
    try:
        settings = requests.Session().merge_environment_settings(base_url, {}, None, None, None)
    except ValueError:
        pass  # no URL at all: the first call says so, as a result
    else:
        verify = True if settings["verify"] is None else settings["verify"]
        if not _is_loopback(base_url):
            proxies = {scheme: proxy for scheme, proxy in settings["proxies"].items() if proxy}
    return Place(base_url=base_url, connect_timeout_s=connect_timeout_s, proxies=proxies, verify=verify)


def _is_loopback(base_url: str) -> bool:
    try:
        host = urlsplit(base_url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One complete HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Line:
    """A connection to a provider, for one thread at a time."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self._place = place
        self._deadline = Deadline(clock)
        self._adapter = LineAdapter(self._deadline)
        self._session = requests.Session()
        self._session.trust_env = False  # `find_way` has read what counts
        self._session.mount("https://", self._adapter)
        self._session.mount("http://", self._adapter)
        self._prepared: dict[str, requests.PreparedRequest] = {}

    def warm(self) -> None:
        """Return with the connection open. Raises one of NETWORK_ERRORS."""
        self._deadline.start(self._place.connect_timeout_s)
        request = self._request(self._place.base_url)
        pool = self._adapter.get_connection_with_tls_context(request, self._place.verify, self._place.proxies)
        cert_verify: Any = self._adapter.cert_verify
        cert_verify(pool, self._place.base_url, self._place.verify, None)
        pool.warm(self._place.connect_timeout_s)

    def post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
        departed: Callable[[float], None] | None = None,
    ) -> Received:
        """Return the whole response, or raise one of NETWORK_ERRORS, within `timeout_s`."""
        self._deadline.start(timeout_s)
        request = self._request(url)
        # One request at a time on a line, so the prepared one is filled in anew instead of being prepared anew.
        request.headers.update(headers)
        request.headers["Content-Length"] = str(len(body))
        request.body = body
        self._deadline.departed = departed
        try:
            response = self._session.send(
                request,
                stream=True,
                timeout=(min(self._place.connect_timeout_s, timeout_s), timeout_s),
                verify=self._place.verify,
                cert=None,
                proxies=self._place.proxies,
                allow_redirects=False,
            )
        finally:
            self._deadline.departed = None  # the line's next call may be another thread's
        raw = response.raw
        try:
            content: bytes = raw.read(BODY_LIMIT_BYTES + 1, decode_content=True)
        except BaseException:
            raw.close()
            raise
        if len(content) > BODY_LIMIT_BYTES:
            raw.close()  # the rest is not drained, so the connection cannot be used again
            raise OversizedBodyError(BODY_LIMIT_BYTES)
        raw.release_conn()
        return Received(status=response.status_code, headers=response.headers, body=content)

    def _request(self, url: str) -> requests.PreparedRequest:
        request = self._prepared.get(url)
        if request is None:
            request = self._prepared[url] = self._template(url).copy()
        return request

    def _template(self, url: str) -> requests.PreparedRequest:
        request = self._place.prepared.get(url)
        if request is None:
            headers = {"Content-Type": "application/json", "Accept": "application/json"}
            # No compression: replies are a few kB, and inflating costs more than it saves.
            headers |= {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
            # Two threads may both get here; they make the same.
            request = self._place.prepared[url] = requests.Request("POST", url, headers=headers).prepare()
        return request

    def close(self) -> None:
        """Close the idle connection."""
        self._session.close()


class Lines:
    """Lines lent to threads, a new one only when none is idle."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self._place, self._clock = place, clock
        self._held = threading.local()
        self._idle: list[Line] = []
        self._all: weakref.WeakSet[Line] = weakref.WeakSet()  # one that is held goes with its thread
        self._lock = threading.Lock()  # keeps `_idle` and `_all` whole

    def line(self) -> Line:
        """Return the calling thread's line: the one it holds, else one lent to it now."""
        line: Line | None = getattr(self._held, "line", None)
        if line is None:
            with self._lock:
                if self._idle:
                    line = self._idle.pop()
                else:
                    line = Line(self._place, self._clock)
                    self._all.add(line)
            self._held.line = line
        return line

    def give_back(self) -> None:
        """Take the calling thread's line back, if it holds one: its call has ended."""
        line: Line | None = getattr(self._held, "line", None)
        if line is not None:
            self._held.line = None
            with self._lock:
                self._idle.append(line)

    def close(self) -> None:
        """Close every idle connection."""
        with self._lock:
            lines = list(self._all)
        for line in lines:
            line.close()
