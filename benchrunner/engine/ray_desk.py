"""The leases of one run on a cluster, and its eye on the registry that grants them.

    supervisor ── lease, release ──> registry actor
    watcher thread ── every second: still the same registry? how do the keys stand? ──┘
          └─ another one answers: sentinel -> the supervisor shows it the leases that are held (`revive`)
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchrunner.clock import SystemClock
from benchrunner.engine.leases import Holder
from benchrunner.engine.ray_registry import RegistryCalls
from benchrunner.errors import RegistryError
from benchrunner.records import DomainUse, Key, Lease
from benchrunner.registry.cluster import KeyClaim
from benchrunner.registry.key_locks import HeldBy
from benchrunner.registry.service import KeyRow

LOOK_EVERY_S = 1.0
REVIVE_S = 60.0
"""How long a registry may take to come up on another node before the run gives up."""


@dataclass(slots=True)
class _Held:
    lease: Lease  # as the run knows it
    claim: KeyClaim
    fence: int  # as the registry knows it, and the worker sends under
    worker: Any


class RayDesk:
    """Grants and takes back the leases of one run. The supervisor's alone; `key_domains` may be asked by anyone."""

    obituary = "the cluster's registry was lost; a new one is shown this run's leases"

    def __init__(
        self,
        registry: RegistryCalls,
        *,
        keys: Mapping[str, Key],
        counted: bool,
        note: str,
        worker_of: Callable[[str], Any],
        domain_names: Sequence[str],
        last_fence: int = 0,
    ) -> None:
        """`worker_of(token)` returns the handle of a worker, for the registry to watch."""
        self._registry, self._keys, self._counted, self._note = registry, keys, counted, note
        self._worker_of, self._domain_names, self._last_fence = worker_of, tuple(domain_names), last_fence
        self._held: dict[str, _Held] = {}
        self._refused: dict[str, str] = {}
        self._parked: dict[str, float] = {}
        self._clock = SystemClock()
        self.sentinel, self._bell = socket.socketpair()
        self.sentinel.setblocking(False)
        self._incarnation, _ = registry.hello()
        self._uses: tuple[DomainUse, ...] = ()
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="registry-watch", daemon=True)
        self._watcher.start()

    def key_domains(self) -> tuple[DomainUse, ...]:
        """Return how the run's domains stood at the last look, at most a second ago."""
        return self._uses

    def lease(self, key_id: str, holder: Holder) -> Lease | HeldBy:
        """Return the lease, or who has the key. Raises RegistryError when the registry does not answer."""
        if key_id in self._refused:
            return HeldBy("nobody: it is refused")
        if self._parked.get(key_id, 0.0) > self._clock.now_s():
            return HeldBy("nobody: it is parked")
        key = self._keys[key_id]
        claim = KeyClaim(
            row=KeyRow(key_id=key.fingerprint, provider=key.provider, slots=key.slots),
            model=holder.model,
            shard_id=holder.shard_id,
            holder=holder.name,
            worker=holder.token,
            note=self._note,
            counted=self._counted,
            above_fence=self._last_fence,
        )
        worker = self._worker_of(holder.token)
        granted = self._registry.lease(claim, worker)
        if isinstance(granted, HeldBy):
            return granted
        lease = replace(granted, key_id=key_id)
        self._held[holder.name] = _Held(lease, claim, granted.fence, worker)
        self._last_fence = max(self._last_fence, granted.fence)
        return lease

    def move(self, holder_name: str, shard_id: str) -> Lease | None:
        """Have the holder's lease be for another shard of its model and return it, under a new fence.

        The registry is not told: to it the lease stays what it was, under the fence by which the worker gets its blocks
        of permits, some of them on their way. The next one that it grants this run has a higher fence than this.
        """
        held = self._held[holder_name]
        self._last_fence += 1
        held.lease = replace(held.lease, shard_id=shard_id, fence=self._last_fence)
        return held.lease

    def release(self, holder_name: str) -> Lease | None:
        """Free the holder's lease and return it; None: it holds none. Raises RegistryError when nobody answers."""
        held = self._held.pop(holder_name, None)
        if held is None:
            return None
        self._registry.release(held.claim.row.key_id, held.fence)
        return held.lease

    def retire(self, key_id: str, reason: str) -> None:
        """Lease the key no more in this run. Other jobs find out for themselves: theirs may be another place."""
        self._refused[key_id] = reason

    def park(self, key_id: str, until_mono_s: float, reason: str) -> None:
        """Lease the key no more in this run before that instant."""
        self._parked[key_id] = max(until_mono_s, self._parked.get(key_id, 0.0))

    def revive(self) -> list[tuple[Lease, Lease]]:
        """Show a registry that was started anew what this run holds. Leases keep their fences: none changes.

        A lease that it will not take back is lost: its worker gets no more permits and ends, which is seen as a crash.
        Raises RegistryError when no registry comes up.
        """
        self._drain()
        deadline_s = self._clock.now_s() + REVIVE_S
        while True:
            try:
                self._incarnation, _ = self._registry.hello()
                for held in self._held.values():
                    self._registry.restore(held.claim, held.fence, held.worker)
            except RegistryError:
                if self._clock.now_s() > deadline_s:
                    raise
                self._clock.sleep_s(LOOK_EVERY_S)
                continue
            return []

    def close(self) -> None:
        """Free what is held and stop looking. A registry that is gone holds nothing any more."""
        self._closed.set()
        self._watcher.join()
        for held in self._held.values():
            try:
                self._registry.release(held.claim.row.key_id, held.fence)
            except RegistryError:
                break  # the workers' end frees what is left
        self._held.clear()
        self.sentinel.close()
        self._bell.close()

    def _drain(self) -> None:
        try:
            while self.sentinel.recv(16):
                continue
        except BlockingIOError:
            return

    def _watch(self) -> None:
        told = self._incarnation
        while not self._closed.wait(LOOK_EVERY_S):
            try:
                incarnation, self._uses = self._registry.look(self._domain_names)
            except RegistryError:
                continue  # it is being started anew, or the run is about to find out
            if incarnation not in (told, self._incarnation):
                told = incarnation
                self._bell.send(b"!")
