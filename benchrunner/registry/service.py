"""The key registry: leases as per-key semaphores with a holder table, and the health of keys. No I/O in here.

A slot of a key is a row in its holder table, never a counter: only a row can tell whose it is, so a dead holder's
slot can be given back (docs/decisions/leases.md). Every call answers at once; nobody waits in here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from benchrunner.clock import Clock
from benchrunner.errors import RegistryError, UnknownKey
from benchrunner.records import Lease


class KeyHealth(StrEnum):
    """Whether a key may be leased."""

    USABLE = "usable"
    PARKED = "parked"  # until an instant, e.g. the reset of its quota
    RETIRED = "retired"  # for the rest of the run


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """What the registry knows of a key: no secret among it."""

    key_id: str
    provider: str
    slots: int = 1  # leases at once; 0: no bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A row of a key's holder table."""

    lease: Lease
    counted: bool  # False: takes no slot (`native`)
    pid: int  # 0: no process is named yet, so no death can free it
    pid_started_s: float  # as psutil's create_time; tells the process from a later one with its pid
    since_mono_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """A key as it stands now."""

    key_id: str
    provider: str
    slots: int
    health: KeyHealth
    reason: str  # why it is not usable, or ""
    parked_until_mono_s: float  # 0.0 unless parked; inf: until `unpark`
    holders: tuple[Holding, ...]  # oldest first


@dataclass(slots=True)
class _KeyState:
    row: KeyRow
    retired: bool = False
    reason: str = ""
    parked_until_s: float = 0.0
    holdings: dict[int, Holding] = field(default_factory=dict)  # fence -> row, oldest first

    def health(self, now_s: float) -> KeyHealth:
        if self.retired:
            return KeyHealth.RETIRED
        return KeyHealth.PARKED if now_s < self.parked_until_s else KeyHealth.USABLE

    def has_free_slot(self) -> bool:
        taken = sum(holding.counted for holding in self.holdings.values())
        return self.row.slots == 0 or taken < self.row.slots


class KeyRegistry:
    """Who holds which key, and which keys may be had. Any thread may call; no call blocks or does I/O.

    Serves as the in-process implementation of `RegistryClient`. A slot takes one lease, even where two leases are
    for the same model: one worker on one slot is what a limit per key can be reasoned about with.
    """

    def __init__(self, keys: Iterable[KeyRow], clock: Clock, last_fence: int = 0) -> None:
        """Hold `keys`, all usable and free; fences go on from `last_fence`.

        Raises RegistryError for a key named twice or a negative slot count.
        """
        self._clock = clock
        self._last_fence = last_fence
        self._keys: dict[str, _KeyState] = {}
        for row in keys:
            if row.key_id in self._keys:
                raise RegistryError(f"key {row.key_id!r} is registered twice; give each key its own id")
            if row.slots < 0:
                raise RegistryError(f"key {row.key_id!r} has {row.slots} slots; 0 means no bound, less means nothing")
            self._keys[row.key_id] = _KeyState(row)
        # Keeps "counted rows never exceed slots" and "fences only rise" true between the look and the entry.
        self._lock = threading.Lock()

    def hold(self, row: KeyRow) -> None:
        """Hold one more key, or the same key with other slots; its leases stay. For registries that outlive a run."""
        with self._lock:
            state = self._keys.setdefault(row.key_id, _KeyState(row))
            state.row = row

    def restore(self, lease: Lease, *, pid: int, counted: bool) -> bool:
        """Enter a lease that an earlier registry granted, under its old fence. False: another has the slot by now."""
        with self._lock:
            state = self._state(lease.key_id)
            if lease.fence in state.holdings:
                return state.holdings[lease.fence].lease == lease
            if counted and not state.has_free_slot():
                return False
            self._last_fence = max(self._last_fence, lease.fence)
            state.holdings[lease.fence] = Holding(
                lease=lease, counted=counted, pid=pid, pid_started_s=0.0, since_mono_s=self._clock.now_s()
            )
            return True

    def raise_fence(self, last_fence: int) -> None:
        """Grant only fences above `last_fence` from now on."""
        with self._lock:
            self._last_fence = max(self._last_fence, last_fence)

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
        """Return a lease on the key, or None if it has no free slot or is retired or parked.

        A holder that asks again for a key it holds gets the lease it has, whatever the key's health: an answer lost
        on its way is asked for again, and must not cost a second slot. `pid` and `pid_started_s` name the process
        whose death frees the lease; `bind` can name it later. `counted=False` takes no slot and needs none, as
        `native` wants it. Raises UnknownKey, and RegistryError if the holder has the key for another model or shard.
        """
        with self._lock:
            state = self._state(key_id)
            for held in state.holdings.values():
                if held.lease.holder == holder:
                    if (held.lease.model, held.lease.shard_id) != (model, shard_id):
                        raise RegistryError(
                            f"{holder!r} holds {key_id!r} for {held.lease.model} ({held.lease.shard_id}) and asks for "
                            f"{model} ({shard_id}); release fence {held.lease.fence} first"
                        )
                    return held.lease
            now_s = self._clock.now_s()
            if state.health(now_s) is not KeyHealth.USABLE or (counted and not state.has_free_slot()):
                return None
            self._last_fence += 1
            lease = Lease(key_id=key_id, model=model, shard_id=shard_id, holder=holder, fence=self._last_fence)
            state.holdings[lease.fence] = Holding(
                lease=lease, counted=counted, pid=pid, pid_started_s=pid_started_s, since_mono_s=now_s
            )
            return lease

    def move(self, key_id: str, fence: int, shard_id: str) -> Lease | None:
        """Return the lease as it is for another shard of its model, under a fence of its own: one step, so that the
        slot is nobody else's in between. None: that fence is not held, as when its holder died.
        """
        with self._lock:
            state = self._state(key_id)
            held = state.holdings.pop(fence, None)
            if held is None:
                return None
            self._last_fence += 1
            lease = replace(held.lease, shard_id=shard_id, fence=self._last_fence)
            state.holdings[lease.fence] = replace(held, lease=lease, since_mono_s=self._clock.now_s())
            return lease

    def bind(self, key_id: str, fence: int, *, pid: int, pid_started_s: float) -> bool:
        """Name the process whose death frees the lease. False: that fence is not held."""
        with self._lock:
            state = self._state(key_id)
            held = state.holdings.get(fence)
            if held is not None:
                state.holdings[fence] = replace(held, pid=pid, pid_started_s=pid_started_s)
            return held is not None

    def release(self, key_id: str, fence: int) -> bool:
        """Free the lease. False: that fence is not held, as when it was released or reclaimed before; no harm done."""
        with self._lock:
            return self._state(key_id).holdings.pop(fence, None) is not None

    def release_holder(self, holder: str) -> tuple[Lease, ...]:
        """Free and return every lease of one holder, by fence."""
        return self._free(lambda held: held.lease.holder == holder)

    def reap(self, pid: int) -> tuple[Lease, ...]:
        """Free and return every lease of one process, by fence: its supervisor knows that it is dead."""
        return self._free(lambda held: held.pid == pid != 0)

    def sweep(self, is_alive: Callable[[int, float], bool]) -> tuple[Lease, ...]:
        """Free and return every lease whose process is gone, by fence.

        `is_alive(pid, pid_started_s)` is asked once per process, outside the lock: it may be as slow as it likes.
        """
        with self._lock:
            named = {
                (held.pid, held.pid_started_s)
                for state in self._keys.values()
                for held in state.holdings.values()
                if held.pid
            }
        gone = {process for process in named if not is_alive(*process)}
        # By process, not by fence: a lease bound to another process meanwhile is not this one's to lose.
        return self._free(lambda held: (held.pid, held.pid_started_s) in gone)

    def valid(self, key_id: str, fence: int) -> bool:
        """Return whether the lease with this fence is still held."""
        with self._lock:
            return fence in self._state(key_id).holdings

    def retire(self, key_id: str, reason: str) -> bool:
        """Lease the key no more in this run; leases on it stay till released. False: it was retired before."""
        with self._lock:
            state = self._state(key_id)
            if state.retired:
                return False
            state.retired, state.reason = True, reason
            return True

    def park(self, key_id: str, until_mono_s: float, reason: str) -> bool:
        """Lease the key no more before `until_mono_s` (inf: before `unpark`); leases on it stay till released.

        Of two instants the later counts. False: nothing changed, as it is retired or parked for as long already.
        """
        with self._lock:
            state = self._state(key_id)
            if state.retired or until_mono_s <= max(state.parked_until_s, self._clock.now_s()):
                return False
            state.parked_until_s, state.reason = until_mono_s, reason
            return True

    def unpark(self, key_id: str) -> bool:
        """Lease a parked key again from now on. False: it was not parked."""
        with self._lock:
            state = self._state(key_id)
            was_parked = state.health(self._clock.now_s()) is KeyHealth.PARKED
            if was_parked:
                state.parked_until_s, state.reason = 0.0, ""
            return was_parked

    def status(self) -> tuple[KeyStatus, ...]:
        """Return every key as it stands now, in the order they were registered."""
        with self._lock:
            now_s = self._clock.now_s()
            return tuple(_status(state, state.health(now_s)) for state in self._keys.values())

    def _state(self, key_id: str) -> _KeyState:
        try:
            return self._keys[key_id]
        except KeyError:
            raise UnknownKey(key_id, tuple(self._keys)) from None

    def _free(self, is_meant: Callable[[Holding], bool]) -> tuple[Lease, ...]:
        freed: list[Lease] = []
        with self._lock:
            for state in self._keys.values():
                for fence in [fence for fence, held in state.holdings.items() if is_meant(held)]:
                    freed.append(state.holdings.pop(fence).lease)
        return tuple(sorted(freed, key=lambda lease: lease.fence))


def _status(state: _KeyState, health: KeyHealth) -> KeyStatus:
    return KeyStatus(
        key_id=state.row.key_id,
        provider=state.row.provider,
        slots=state.row.slots,
        health=health,
        reason="" if health is KeyHealth.USABLE else state.reason,
        parked_until_mono_s=state.parked_until_s if health is KeyHealth.PARKED else 0.0,
        holders=tuple(state.holdings.values()),
    )
