"""The run's leases: its Manager, machine-wide locks on its keys, and what is done when the Manager dies.

    grant ─> machine-wide lock on a slot of the key (another run may have it: HeldBy)
          ─> lease in this run's Manager (holder table, fence) ─> worker
    the Manager died ─> a new one, fences going on where the last ended ─> every live worker's lease granted anew
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchrunner.errors import RegistryError
from benchrunner.records import Key, Lease
from benchrunner.registry.host import Host
from benchrunner.registry.key_locks import HeldBy, KeyLock, KeyLocks

HOST_STOP_S = 3.0
RESTARTS = 5
"""Managers started anew in one run; somebody who kills more than that means it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whom a lease is for."""

    name: str  # "run/shard/worker"; it stays when the lease moves to another shard
    model: str
    shard_id: str
    pid: int
    pid_started_s: float
    token: str = ""  # what names its process in a cluster


@dataclass(slots=True)
class _Held:
    lease: Lease
    holder: Holder
    lock: KeyLock | None


class LeaseDesk:
    """Grants and takes back the leases of one run. The supervisor's alone."""

    def __init__(
        self,
        *,
        start: Callable[[int], Host],
        keys: Mapping[str, Key],
        counted: bool,
        locks: KeyLocks | None,
        note: str,
        last_fence: int = 0,
    ) -> None:
        """`start(last_fence)` starts a Manager. `locks` None: nobody else can use these keys.

        `note` is what other runs are told of the holder.
        """
        self._start, self._keys, self._counted, self._locks, self._note = start, keys, counted, locks, note
        self._held: dict[str, _Held] = {}  # by holder's name
        self._last_fence = last_fence
        self._refused: dict[str, tuple[str, float | None]] = {}  # key -> why, and until when (None: retired)
        self._restarts = 0
        self._host = start(last_fence)

    @property
    def sentinel(self) -> Any:
        """Return what becomes ready when the Manager dies."""
        return self._host.sentinel

    @property
    def obituary(self) -> str:
        """Return what there is to say when the Manager died."""
        return "the leases' Manager, or the server it was forked from, died; a new one takes over"

    def lease(self, key_id: str, holder: Holder) -> Lease | HeldBy:
        """Return the lease, or who has the key. Raises RegistryError when the Manager is gone (see `revive`)."""
        held = self._held.get(holder.name)
        if held is not None and held.lease.key_id == key_id:
            return held.lease  # asked again: its own lock must not count as another's
        lock: KeyLock | None = None
        key = self._keys[key_id]
        if self._locks is not None and self._counted and key.slots:
            taken = self._locks.take(key, self._note)
            if isinstance(taken, HeldBy):
                return taken
            lock = taken
        try:
            lease = self._lease(key_id, holder)
        except RegistryError:
            if lock is not None:
                lock.release()
            raise
        if lease is None:
            if lock is not None:
                lock.release()
            return HeldBy("this run")
        self._held[holder.name] = _Held(lease, holder, lock)
        return lease

    def _lease(self, key_id: str, holder: Holder) -> Lease | None:
        lease = self._host.client().lease(
            key_id,
            model=holder.model,
            shard_id=holder.shard_id,
            holder=holder.name,
            pid=holder.pid,
            pid_started_s=holder.pid_started_s,
            counted=self._counted,
        )
        if lease is not None:
            self._last_fence = max(self._last_fence, lease.fence)
        return lease

    def move(self, holder_name: str, shard_id: str) -> Lease | None:
        """Have the holder's lease be for another shard of its model and return it, under its new fence.

        None: it holds none any more, since its process is dead. Raises RegistryError when the Manager is gone.
        """
        held = self._held[holder_name]
        lease = self._host.client().move(held.lease.key_id, held.lease.fence, shard_id)
        if lease is not None:
            self._last_fence = max(self._last_fence, lease.fence)
            held.lease, held.holder = lease, replace(held.holder, shard_id=shard_id)
        return lease

    def release(self, holder_name: str) -> Lease | None:
        """Free the holder's lease and return it; None: it holds none. Raises RegistryError when the Manager is gone."""
        held = self._held.pop(holder_name, None)
        if held is None:
            return None
        if held.lock is not None:
            held.lock.release()
        self._host.client().release(held.lease.key_id, held.lease.fence)
        return held.lease

    def retire(self, key_id: str, reason: str) -> None:
        """Lease the key no more in this run."""
        self._refused[key_id] = (reason, None)
        self._host.client().retire(key_id, reason)

    def park(self, key_id: str, until_mono_s: float, reason: str) -> None:
        """Lease the key no more before that instant."""
        if self._refused.get(key_id, ("", until_mono_s))[1] is not None:  # retired is for good
            self._refused[key_id] = (reason, until_mono_s)
        self._host.client().park(key_id, until_mono_s, reason)

    def revive(self) -> list[tuple[Lease, Lease]]:
        """Start a new Manager for a dead one and return, for each live holder, its old lease and its new one.

        Raises RegistryError when it does not come up, or has died too often.
        """
        self._restarts += 1
        if self._restarts > RESTARTS:
            raise RegistryError(f"the Manager died {self._restarts} times in this run; something keeps killing it")
        self._host.stop(HOST_STOP_S)
        self._host = self._start(self._last_fence)
        renewed = []
        for held in self._held.values():
            lease = self._lease(held.lease.key_id, held.holder)
            if lease is None:
                raise RegistryError(f"a new Manager would not lease {held.lease.key_id} to {held.holder.name} again")
            renewed.append((held.lease, lease))
            held.lease = lease
        # After the leases: a key is refused to newcomers, not to those that are winding down on it.
        for key_id, (reason, until_mono_s) in self._refused.items():
            if until_mono_s is None:
                self._host.client().retire(key_id, reason)
            else:
                self._host.client().park(key_id, until_mono_s, reason)
        return renewed

    def close(self) -> None:
        """Free what is held and end the Manager."""
        for held in self._held.values():
            if held.lock is not None:
                held.lock.release()
        self._held.clear()
        self._host.stop(HOST_STOP_S)
