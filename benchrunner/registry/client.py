"""How processes talk to a key registry: the protocol, the client of a Manager, and the door for onlookers.

supervisor, worker ── HostClient ──┐ unix socket, one connection per thread ┌── "keys"       every call
`benchrunner keys` ── open_door ───┘ (random authkey, 0700 directory)       └── "keys-read"  status, valid
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Protocol

import orjson
from multiprocess import AuthenticationError
from multiprocess.managers import BaseProxy, RemoteError, Token

from benchrunner.errors import RegistryError, StateError
from benchrunner.records import Lease
from benchrunner.registry.service import KeyStatus
from benchrunner.registry.wire import lease_of, status_of

TYPE_ID = "KeyRegistry"
IDENT = "keys"
READ_IDENT = "keys-read"
READ_CALLS = ("status", "valid")
CALLS = (
    *READ_CALLS,
    "lease",
    "move",
    "bind",
    "release",
    "release_holder",
    "reap",
    "retire",
    "park",
    "unpark",
)


class RegistryReader(Protocol):
    """What an onlooker may ask. The calls mean what they mean in `KeyRegistry`."""

    def valid(self, key_id: str, fence: int) -> bool:
        """Return whether the lease with this fence is still held."""
        ...

    def status(self) -> tuple[KeyStatus, ...]:
        """Return every key as it stands now."""
        ...


class RegistryClient(RegistryReader, Protocol):
    """What a run asks of its registry. Any thread may call; no call blocks longer than its own round trip.

    `KeyRegistry` itself is the in-process implementation. Raises RegistryError where the registry cannot be reached.
    """

    def lease(
        self,
        key_id: str,
        *,
        model: str,
        shard_id: str,
        holder: str,
        pid: int = 0,
        pid_started_s: float = 0.0,
        counted: bool = True,
    ) -> Lease | None:
        """Return a lease on the key, or None if it cannot be had now; the same one to a holder who asks again."""
        ...

    def move(self, key_id: str, fence: int, shard_id: str) -> Lease | None:
        """Have the lease be for another shard of its model, under a new fence; None if it is not held."""
        ...

    def bind(self, key_id: str, fence: int, *, pid: int, pid_started_s: float) -> bool:
        """Name the process whose death frees the lease."""
        ...

    def release(self, key_id: str, fence: int) -> bool:
        """Free the lease; False if it is not held."""
        ...

    def release_holder(self, holder: str) -> tuple[Lease, ...]:
        """Free every lease of one holder."""
        ...

    def reap(self, pid: int) -> tuple[Lease, ...]:
        """Free every lease of one dead process."""
        ...

    def retire(self, key_id: str, reason: str) -> bool:
        """Lease the key no more in this run."""
        ...

    def park(self, key_id: str, until_mono_s: float, reason: str) -> bool:
        """Lease the key no more before an instant."""
        ...

    def unpark(self, key_id: str) -> bool:
        """Lease a parked key again."""
        ...


class _RegistryProxy(BaseProxy):  # type: ignore[misc]  # multiprocess ships no types
    """A proxy of a referent that the Manager keeps for its whole life: nothing is counted, so nothing can be lost."""

    def _incref(self) -> None:
        """Count nothing."""

    def hang_up(self) -> None:
        """Close the calling thread's connection; its next call opens a new one."""
        connection = self._tls.__dict__.pop("connection", None)
        if connection is not None:
            connection.close()


class HostReader:
    """Reads a registry in a Manager process. Threads share one object; each has a connection of its own."""

    _ident = READ_IDENT

    def __init__(self, address: str, authkey: bytes) -> None:
        self.address = address
        token = Token(TYPE_ID, address, self._ident)
        self._proxy = _RegistryProxy(token, "pickle", authkey=authkey, incref=False)

    def valid(self, key_id: str, fence: int) -> bool:
        """Return whether the lease with this fence is still held."""
        return bool(self._ask("valid", key_id, fence))

    def status(self) -> tuple[KeyStatus, ...]:
        """Return every key as it stands now."""
        return tuple(status_of(row) for row in self._ask("status"))

    def close(self) -> None:
        """Close the calling thread's connection. A thread's connection also closes when the thread ends."""
        self._proxy.hang_up()

    def _ask(self, call: str, *args: object, **kwds: object) -> Any:
        try:
            return self._proxy._callmethod("ask", (call, args, kwds))
        except RegistryError:
            raise  # the registry's own answer
        except (OSError, EOFError, AuthenticationError, RemoteError) as fault:
            self._proxy.hang_up()
            raise RegistryError(
                f"the key registry at {self.address} does not answer {call!r} ({type(fault).__name__}); "
                "its run has ended or its Manager was killed"
            ) from fault
        except BaseException:
            # An interrupt between question and answer leaves the answer in the pipe for the next question to read.
            self._proxy.hang_up()
            raise


class HostClient(HostReader):
    """Asks a registry in a Manager process: `RegistryClient` over its socket."""

    _ident = IDENT

    def lease(
        self,
        key_id: str,
        *,
        model: str,
        shard_id: str,
        holder: str,
        pid: int = 0,
        pid_started_s: float = 0.0,
        counted: bool = True,
    ) -> Lease | None:
        """Return a lease on the key, or None if it cannot be had now; the same one to a holder who asks again."""
        row = self._ask(
            "lease",
            key_id,
            model=model,
            shard_id=shard_id,
            holder=holder,
            pid=pid,
            pid_started_s=pid_started_s,
            counted=counted,
        )
        return None if row is None else lease_of(row)

    def move(self, key_id: str, fence: int, shard_id: str) -> Lease | None:
        """Have the lease be for another shard of its model, under a new fence; None if it is not held."""
        row = self._ask("move", key_id, fence, shard_id)
        return None if row is None else lease_of(row)

    def bind(self, key_id: str, fence: int, *, pid: int, pid_started_s: float) -> bool:
        """Name the process whose death frees the lease."""
        return bool(self._ask("bind", key_id, fence, pid=pid, pid_started_s=pid_started_s))

    def release(self, key_id: str, fence: int) -> bool:
        """Free the lease; False if it is not held."""
        return bool(self._ask("release", key_id, fence))

    def release_holder(self, holder: str) -> tuple[Lease, ...]:
        """Free every lease of one holder."""
        return tuple(lease_of(row) for row in self._ask("release_holder", holder))

    def reap(self, pid: int) -> tuple[Lease, ...]:
        """Free every lease of one dead process."""
        return tuple(lease_of(row) for row in self._ask("reap", pid))

    def retire(self, key_id: str, reason: str) -> bool:
        """Lease the key no more in this run."""
        return bool(self._ask("retire", key_id, reason))

    def park(self, key_id: str, until_mono_s: float, reason: str) -> bool:
        """Lease the key no more before an instant."""
        return bool(self._ask("park", key_id, until_mono_s, reason))

    def unpark(self, key_id: str) -> bool:
        """Lease a parked key again."""
        return bool(self._ask("unpark", key_id))


class Reachable(Protocol):
    """Something that listens: a `Host`."""

    @property
    def address(self) -> str:
        """Return the path of its socket."""
        ...

    @property
    def authkey(self) -> bytes:
        """Return what a client proves to know."""
        ...

    @property
    def pid(self) -> int:
        """Return its process id."""
        ...


def write_door(path: Path, host: Reachable) -> None:
    """Let other processes of this user look in: write where the host listens to `path`, mode 0600, in one step.

    The writer removes the file when its run ends; one that a killed run left behind is told from a live one by
    `open_door`. Raises StateError if it cannot be written.
    """
    door = orjson.dumps({"address": host.address, "authkey": host.authkey.hex(), "pid": host.pid})
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(door)
        fresh.replace(path)
    except OSError as fault:
        fresh.unlink(missing_ok=True)
        raise StateError(f"cannot write the registry's door {path}: {fault.strerror}") from fault


def open_door(path: Path) -> RegistryReader:
    """Return a read-only client of the registry whose door this is, having reached it once.

    Raises RegistryError if there is no door or nobody answers behind it, StateError if others may have written it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise RegistryError(f"no registry is open at {path}; is a run in progress?") from None
    except OSError as fault:
        raise StateError(f"cannot read the registry's door {path}: {fault.strerror}") from fault
    with os.fdopen(fd, "rb") as file:
        info = os.fstat(file.fileno())
        if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o077:
            raise StateError(f"the registry's door {path} is not this user's alone; remove it")
        content = file.read()
    try:
        door = orjson.loads(content)
        address, authkey = str(door["address"]), bytes.fromhex(door["authkey"])
    except (ValueError, KeyError, TypeError) as fault:
        raise RegistryError(f"the registry's door {path} is damaged; remove it") from fault
    reader = HostReader(address, authkey)
    reader.status()
    return reader
