"""Starts the process that serves the pages, and makes sure it ends.

    command --+-- binds the port ------------- listener, inherited --> uvicorn + Datasette
              +-- stdin: which file, whose names; then held open ----> its end is our end

A process of its own: Datasette and what it brings stay out of the command, whose signals and exit codes stay its own.
"""

from __future__ import annotations

import http.client
import importlib.util
import ipaddress
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import orjson

from benchrunner.clock import SystemClock
from benchrunner.errors import BenchrunnerError, UsageError, pip_line

DEFAULT_PORT = 8001
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
_BACKLOG = 128
_clock = SystemClock()


class BrowseServer:
    """The process that serves one runs.db. Ends with `stop`, or with whoever started it."""

    def __init__(self, process: subprocess.Popen[bytes], host: str, port: int) -> None:
        self._process, self._host, self.port = process, host, port
        self.pid = process.pid
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return once the home page is answered. Raises BenchrunnerError if it will not be; its words are on stderr."""
        deadline_s = _clock.now_s() + timeout_s
        connection = http.client.HTTPConnection(self.url.split("/")[2], timeout=timeout_s)
        try:
            # The port has been listening since it was bound: the connection waits there until the process takes it,
            # and is cut when the process dies.
            connection.request("GET", "/-/versions.json")
            status = connection.getresponse().status
        except OSError as error:
            why = "was not ready in time" if _clock.now_s() >= deadline_s else "ended at start"
            raise BenchrunnerError(f"the server of the pages {why}; what it said stands above") from error
        finally:
            connection.close()
        if status != 200:
            raise BenchrunnerError(f"the server of the pages answers with status {status}; what it said stands above")

    def alive(self) -> bool:
        """Return whether the process still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the process and return when it is gone. May be called again."""
        if self._process.poll() is None:
            self._process.terminate()
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> BrowseServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def require_datasette() -> None:
    """Raise UsageError where Datasette is not installed."""
    if importlib.util.find_spec("datasette") is None:
        raise UsageError(f"browse needs Datasette: {pip_line('browse')}")


def start_browse(path: Path, *, host: str = "127.0.0.1", port: int | None = None) -> BrowseServer:
    """Return the server of the pages of the runs.db at `path`, answering.

    `port` 0 takes a free one; None takes 8001, or a free one where that is in use. Served under a loopback address, it
    answers only to requests for this machine. Raises UsageError where it cannot listen.
    """
    listener = _listen(host, port)
    try:
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",  # the directory we are called in may hold a module of any name
                "-m",
                "uvicorn",
                "--factory",
                "benchrunner.browse.app:serve_for_parent",
                f"--app-dir={Path(__file__).parents[2]}",
                f"--fd={listener.fileno()}",
                "--log-level=warning",
                "--no-access-log",
                "--no-proxy-headers",
                "--no-server-header",
                "--timeout-graceful-shutdown=1",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(listener.fileno(),),
            # Out of the terminal's group: Ctrl-C is for the command, which ends this process in its own time.
            process_group=0,
        )
        server = BrowseServer(process, host, listener.getsockname()[1])
    finally:
        listener.close()  # the child's copy lives on; when the child dies, connecting is refused at once
    try:
        assert process.stdin is not None
        asked = {"db": str(path.absolute()), "hosts": _hosts(host)}
        process.stdin.write(orjson.dumps(asked, option=orjson.OPT_APPEND_NEWLINE))
        process.stdin.flush()
        server.wait_ready()
    except BaseException:
        server.stop()
        raise
    return server


def _listen(host: str, port: int | None) -> socket.socket:
    if port is not None:
        return _bound(host, port)
    try:
        return _bound(host, DEFAULT_PORT)
    except UsageError:
        return _bound(host, 0)


def _bound(host: str, port: int) -> socket.socket:
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}; --port 0 takes a free one") from error
    return listener


def _hosts(host: str) -> list[str] | None:
    """Return the names to answer to: this machine's own under a loopback address, any under another."""
    return ["127.0.0.1", "localhost", "[::1]", host] if is_loopback(host) else None


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach what listens under `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
