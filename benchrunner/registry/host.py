"""The Manager process that keeps a run's key registry.

    supervisor                                   Manager process (start method named: forkserver or spawn)
      LifeLock (exclusive flock) <────────────── thread dies-with-holder: waits in flock, then ends the process
      Host.client() ── unix socket, authkey ───> one thread per connection ──> KeyRegistry (one lock, no waiting)
      Host.stop() ──── shutdown, then SIGKILL    thread sweeper: every second frees the leases of dead processes

It ignores SIGINT and SIGTERM, which reach a whole process group: the supervisor drains its workers first and ends the
Manager last. It cannot outlive the supervisor, however that dies. No secret ever comes here.
"""

from __future__ import annotations

import os
import secrets
import signal
import stat
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from multiprocess import AuthenticationError
from multiprocess.managers import BaseManager, Server, dispatch

from benchrunner.clock import SystemClock
from benchrunner.errors import RegistryError, StateError
from benchrunner.locks import is_locked
from benchrunner.registry.client import CALLS, IDENT, READ_CALLS, READ_IDENT, TYPE_ID, HostClient
from benchrunner.registry.life import ProcessWatch, die_with_holder
from benchrunner.registry.service import KeyRegistry, KeyRow
from benchrunner.registry.wire import plain

SWEEP_EVERY_S = 1.0

ADDRESS_MAX_BYTES = 103
"""The longest path of a unix socket that every POSIX system takes (macOS: 104 with the closing zero)."""


class Desk:
    """One way into the registry as the Manager serves it: answers named calls in rows of plain values."""

    def __init__(self, registry: KeyRegistry, calls: tuple[str, ...]) -> None:
        self._registry, self._calls = registry, frozenset(calls)

    def ask(self, call: str, args: tuple[object, ...], kwds: dict[str, object]) -> object:
        """Return what the registry answers to `call`. Raises RegistryError for one that is not offered here."""
        if call not in self._calls:
            raise RegistryError(f"{call!r} is not offered here; there are {', '.join(sorted(self._calls))}")
        return plain(getattr(self._registry, call)(*args, **kwds))


class _RegistryServer(Server):  # type: ignore[misc]  # multiprocess ships no types
    """A manager server with one registry in it from its first to its last moment.

    The usual way, objects created by clients and dropped with their last proxy, would lose the registry whenever its
    only client is between two connections.
    """

    public = ("accept_connection", "dummy", "shutdown")

    def __init__(self, registry: dict[str, tuple[Any, ...]], address: str, authkey: bytes, serializer: str) -> None:
        super().__init__(registry, address, authkey, serializer)
        open_registry = registry[TYPE_ID][0]
        self._keys: KeyRegistry = open_registry()
        self.id_to_obj[IDENT] = (Desk(self._keys, CALLS), frozenset({"ask"}), None)
        self.id_to_obj[READ_IDENT] = (Desk(self._keys, READ_CALLS), frozenset({"ask"}), None)

    def serve_forever(self) -> None:
        threading.Thread(target=self._sweep, name="sweeper", daemon=True).start()
        super().serve_forever()

    def _sweep(self) -> None:
        clock, watch = SystemClock(), ProcessWatch()
        try:
            while True:
                clock.sleep_s(SWEEP_EVERY_S)
                self._keys.sweep(watch.is_alive)
        finally:
            # Only a fault leads here. Without a sweeper the slots of killed workers would be lost one by one and in
            # silence; a registry that is gone is noticed at once.
            self.stop_event.set()


class _RegistryManager(BaseManager):  # type: ignore[misc]  # multiprocess ships no types
    """The supervisor's end of the Manager process."""

    _Server = _RegistryServer

    def __init__(self, address: str, authkey: bytes, ctx: Any, keys: tuple[KeyRow, ...], last_fence: int) -> None:
        super().__init__(address=address, authkey=authkey, ctx=ctx)
        # Of this object only, not of the class: two hosts in one process keep different keys.
        self._registry = {TYPE_ID: (partial(KeyRegistry, keys, SystemClock(), last_fence), None, None, None)}

    @property
    def process(self) -> Any:
        """Return the started process."""
        return self._process


def _begin(life_lock: str, address: str) -> None:
    """Run first in the Manager process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    die_with_holder(Path(life_lock), remove=(Path(address),))


class Host:
    """A running Manager process, as the supervisor that started it sees it."""

    def __init__(self, manager: _RegistryManager, address: str, authkey: bytes) -> None:
        self._manager, self._process = manager, manager.process
        self._address, self._authkey = address, authkey
        self._client = HostClient(address, authkey)
        self._itself = _process_of(self.pid)

    @property
    def address(self) -> str:
        """Return the path of its socket."""
        return self._address

    @property
    def authkey(self) -> bytes:
        """Return what a client proves to know."""
        return self._authkey

    @property
    def pid(self) -> int:
        """Return its process id."""
        pid: int = self._process.pid
        return pid

    def client(self) -> HostClient:
        """Return a client for any thread of this process; others make `HostClient(address, authkey)`."""
        return self._client

    @property
    def sentinel(self) -> Any:
        """Return what becomes ready, for `multiprocess.connection.wait`, when the process ends."""
        return self._process.sentinel

    def alive(self) -> bool:
        """Return whether the process is there. Of the starting process only, like `stop`."""
        return bool(self._process.is_alive())

    def stop(self, timeout_s: float) -> None:
        """End the process: ask it, and kill it if it is still there after `timeout_s`. May be called twice."""
        if self.alive():
            # Asked by a thread of its own, since a process that is stopped or stuck would never answer.
            threading.Thread(target=self._ask_to_end, name="ends-registry", daemon=True).start()
            self._process.join(timeout_s)
            if self.alive():
                self._process.kill()
                self._process.join()
        # A fork server that was killed reports its children as ended, though they live on.
        if self._itself is not None:
            with suppress(psutil.NoSuchProcess):
                self._itself.kill()
        self._manager.shutdown()  # forgets the process, which is gone
        Path(self._address).unlink(missing_ok=True)

    def _ask_to_end(self) -> None:
        try:
            connection = self._manager._Client(self._address, authkey=self._authkey)
            try:
                dispatch(connection, None, "shutdown")
            finally:
                connection.close()
        except (OSError, EOFError, AuthenticationError):
            return  # it ended, or was killed, before it could answer; `stop` sees that for itself


def _process_of(pid: int) -> psutil.Process | None:
    """Return the very process, not a later one with its pid; None if it is gone already."""
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def start_host(
    ctx: Any, *, keys: Sequence[KeyRow], socket_dir: Path, life_lock: Path, last_fence: int = 0
) -> Host:
    """Return a started Manager with these keys, reachable once this returns.

    `ctx` is a named `forkserver` or `spawn` context; `socket_dir` a short path, this user's alone (0700); `life_lock`
    the file of a LifeLock that the caller holds; fences go on from `last_fence`. Raises StateError for a directory
    that others may enter, and RegistryError for the rest, a Manager that does not come up included.
    """
    if ctx.get_start_method() == "fork":
        raise RegistryError("a forked Manager would hold its own life lock; hand in a forkserver or spawn context")
    KeyRegistry(keys, SystemClock())  # its complaints about the keys are readable here, and only here
    if not is_locked(life_lock):
        raise RegistryError(f"nobody holds the life lock {life_lock}; take a LifeLock before starting the Manager")
    address = str(_socket_path(socket_dir))
    authkey = secrets.token_bytes(32)
    manager = _RegistryManager(address, authkey, ctx, tuple(keys), last_fence)
    try:
        manager.start(_begin, (str(life_lock), address))
    except (OSError, EOFError) as fault:
        raise RegistryError(f"the Manager process did not come up ({fault!r})") from fault
    return Host(manager, address, authkey)


def _socket_path(socket_dir: Path) -> Path:
    try:
        info = socket_dir.stat()
    except OSError as fault:
        raise StateError(f"cannot use {socket_dir} for the registry's socket: {fault.strerror}") from fault
    if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o077:
        raise StateError(f"{socket_dir} must belong to this user alone; chmod 700 it")
    path = socket_dir / f"{secrets.token_hex(4)}.sock"
    if len(os.fsencode(path)) > ADDRESS_MAX_BYTES:
        raise RegistryError(f"{path} is too long for a unix socket; hand in a shorter directory")
    return path
