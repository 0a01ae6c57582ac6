"""The registry that all jobs of a cluster share: windows handed out by the block, leases of keys, one clock.

The same windows and leases as on one machine (`BlockWindows` is `LocalWindows`, `KeyRegistry` the Manager's), without
shared memory and without a Manager process: whoever runs it calls one method after the other, the Ray engine an actor.
Keys go by their fingerprints here, since two jobs may call one credential by two names.

A registry that had to be started anew (its node was lost) knows nothing of what was sent and who holds what. So for the
longest window of each domain it lets nothing of it leave, and for `CLAIM_S` it only takes back leases that it is shown.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchrunner import __version__
from benchrunner.clock import Clock
from benchrunner.limits.blocks import Ask, Block, BlockWindows
from benchrunner.records import Domain, DomainUse, Lease
from benchrunner.registry.key_locks import HeldBy
from benchrunner.registry.service import KeyRegistry, KeyRow, KeyStatus

SPARE_NOTES = 100
"""Notes of leases that ended may stay so many: a registry outlives thousands of them."""

CLAIM_S = 5.0
"""How long a registry that was started anew waits for its lease holders. They look every second (ray_desk.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyClaim:
    """What a job asks a lease for. No secret is among it."""

    row: KeyRow  # by fingerprint
    model: str
    shard_id: str
    holder: str  # "run/shard/worker"
    worker: str  # the worker process, whose death frees the lease
    note: str  # what other jobs are told of the holder
    counted: bool
    above_fence: int = 0  # the lease's is to be higher


class ClusterRegistry:
    """Windows and leases of one cluster. Any thread may call; nothing in here waits."""

    def __init__(self, clock: Clock, *, name: str, reborn: bool = False) -> None:
        """`name` tells this registry from one before or after it; `reborn`: there was one before it."""
        self.name, self.version = name, __version__
        self._clock, self._reborn, self._born_s = clock, reborn, clock.now_s()
        self._windows = BlockWindows(clock)
        self._leases = KeyRegistry((), clock)
        self._domains: frozenset[str] = frozenset()
        self._keys: frozenset[str] = frozenset()  # replaced, never changed: read without the lock by every exchange
        self._numbers = itertools.count(1)
        self._workers: dict[str, int] = {}  # worker -> number, as the leases name processes
        self._notes: dict[str, str] = {}  # holder -> note
        # Keeps a domain's first registration and its pause one step, and worker numbers unique.
        self._lock = threading.Lock()

    def register(self, domains: Sequence[Domain]) -> None:
        """Hold windows for every domain; repeating it changes nothing."""
        with self._lock:
            self._windows.register(domains)
            for domain in domains:
                longest_s = max((limit.per_s for limit in domain.limits), default=0.0)
                unknown_s = self._born_s + longest_s - self._clock.now_s()
                if self._reborn and domain.name not in self._domains and unknown_s > 0:
                    self._windows.pause(domain.name, unknown_s)
                self._domains |= {domain.name}

    def exchange(self, ask: Ask) -> Block:
        """Answer a worker. Nothing is granted under a fence that is not held; what it tells is booked all the same."""
        if ask.registry != self.name:
            # Its permits were another registry's: their instants are of another clock.
            ask = replace(ask, reports=tuple(one for one in ask.reports if one.permit is None))
        if self._holds(ask.key, ask.fence):
            return self._windows.exchange(ask)
        told = self._windows.exchange(replace(ask, wanted=()))
        if self._claiming():
            return replace(told, again_s=1.0)  # its lease may be about to be shown
        return replace(told, fenced=True)

    def lease(self, claim: KeyClaim) -> Lease | HeldBy:
        """Return a lease on the key, or who holds it; the same lease to a holder who asks again."""
        if self._claiming():
            return HeldBy("nobody yet: the registry was lost and waits for those who held leases")
        self._hold(claim.row)
        self._leases.raise_fence(claim.above_fence)
        lease = self._leases.lease(
            claim.row.key_id,
            model=claim.model,
            shard_id=claim.shard_id,
            holder=claim.holder,
            pid=self._number(claim.worker),
            counted=claim.counted,
        )
        if lease is None:
            return HeldBy(self._holder_of(claim.row.key_id))
        self._note(claim)
        return lease

    def restore(self, claim: KeyClaim, fence: int) -> bool:
        """Take back a lease that the registry before this one granted. False: another holder has the slot."""
        self._hold(claim.row)
        lease = Lease(
            key_id=claim.row.key_id, model=claim.model, shard_id=claim.shard_id, holder=claim.holder, fence=fence
        )
        self._note(claim)
        return self._leases.restore(lease, pid=self._number(claim.worker), counted=claim.counted)

    def release(self, key: str, fence: int) -> bool:
        """Free a lease. False: it is not held, no harm done."""
        return key in self._keys and self._leases.release(key, fence)

    def reap(self, worker: str) -> tuple[Lease, ...]:
        """Free and return every lease of a worker that is gone."""
        with self._lock:
            number = self._workers.pop(worker, 0)
        return self._leases.reap(number)

    def holds_run(self, run_id: str) -> bool:
        """Return whether a worker of this run holds a lease now."""
        return any(held.lease.holder.startswith(f"{run_id}/") for key in self.status() for held in key.holders)

    def status(self) -> tuple[KeyStatus, ...]:
        """Return every key by its fingerprint."""
        return self._leases.status()

    def snapshot(self, names: Sequence[str]) -> tuple[DomainUse, ...]:
        """Return those of the named domains that are registered, as they stand."""
        return self._windows.snapshot([name for name in names if name in self._domains])

    def _claiming(self) -> bool:
        return self._reborn and self._clock.now_s() < self._born_s + CLAIM_S

    def _holds(self, key: str, fence: int) -> bool:
        return key in self._keys and self._leases.valid(key, fence)

    def _hold(self, row: KeyRow) -> None:
        self._leases.hold(row)
        with self._lock:
            self._keys |= {row.key_id}

    def _note(self, claim: KeyClaim) -> None:
        held = {holding.lease.holder for key in self.status() for holding in key.holders}
        with self._lock:
            self._notes[claim.holder] = claim.note
            if len(self._notes) > 2 * len(held) + SPARE_NOTES:
                self._notes = {holder: note for holder, note in self._notes.items() if holder in held}

    def _holder_of(self, key: str) -> str:
        for status in self._leases.status():
            if status.key_id == key and status.holders:
                return self._notes.get(status.holders[-1].lease.holder, "another job of the cluster")
        return "nobody, though it was a moment ago"

    def _number(self, worker: str) -> int:
        with self._lock:
            if worker and worker not in self._workers:
                self._workers[worker] = next(self._numbers)
            return self._workers.get(worker, 0)
