"""Leases, whatever is asked in whatever order: slots hold, fences rise, nothing is freed that should not be."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from benchrunner.records import Lease
from benchrunner.registry.service import KeyHealth, KeyRegistry, KeyRow

KEY_IDS = ("key0", "key1", "key2")
KEYS = st.sampled_from(KEY_IDS)
WORKERS = st.integers(min_value=1, max_value=6)


class StoodClock:
    def __init__(self) -> None:
        self.instant_s = 0.0

    def now_s(self) -> float:
        return self.instant_s

    def sleep_s(self, seconds: float) -> None:
        raise AssertionError("the registry waits for nothing")

    def utc(self) -> str:
        raise AssertionError("the registry has no business with wall-clock time")


class Leasing(RuleBasedStateMachine):
    """Plays workers against a registry and keeps a table of its own to compare with."""

    @initialize(slots=st.tuples(*[st.integers(min_value=0, max_value=3)] * len(KEY_IDS)))
    def open(self, slots: tuple[int, ...]) -> None:
        self.clock = StoodClock()
        self.slots = dict(zip(KEY_IDS, slots, strict=True))
        rows = [KeyRow(key_id=key_id, provider="p", slots=slots) for key_id, slots in self.slots.items()]
        self.registry = KeyRegistry(rows, self.clock)
        self.held: dict[int, tuple[Lease, int]] = {}  # fence -> lease, worker
        self.freed: list[Lease] = []
        self.highest_fence = 0
        self.retired: set[str] = set()
        self.parked_until_s = dict.fromkeys(KEY_IDS, 0.0)

    def is_full(self, key_id: str) -> bool:
        return 0 < self.slots[key_id] <= sum(lease.key_id == key_id for lease, _ in self.held.values())

    def is_usable(self, key_id: str) -> bool:
        return key_id not in self.retired and self.clock.instant_s >= self.parked_until_s[key_id]

    def lose(self, leases: tuple[Lease, ...]) -> None:
        for lease in leases:
            del self.held[lease.fence]
            self.freed.append(lease)

    def of_worker(self, worker: int) -> tuple[Lease, ...]:
        return tuple(lease for lease, owner in self.held.values() if owner == worker)

    @rule(key_id=KEYS, worker=WORKERS)
    def lease(self, key_id: str, worker: int) -> None:
        had = next((lease for lease in self.of_worker(worker) if lease.key_id == key_id), None)
        lease = self.registry.lease(
            key_id, model="m", shard_id="s", holder=f"w{worker}", pid=worker, pid_started_s=float(worker)
        )
        if had is not None:
            assert lease == had
        elif self.is_full(key_id) or not self.is_usable(key_id):
            assert lease is None
        else:
            assert lease is not None
            assert lease.fence > self.highest_fence
            self.highest_fence = lease.fence
            self.held[lease.fence] = (lease, worker)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        known = [lease for lease, _ in self.held.values()] + self.freed
        if not known:
            return
        lease = data.draw(st.sampled_from(known))
        assert self.registry.release(lease.key_id, lease.fence) == (lease.fence in self.held)
        if lease.fence in self.held:
            self.lose((lease,))

    @rule(worker=WORKERS)
    def reap(self, worker: int) -> None:
        expected = self.of_worker(worker)
        assert self.registry.reap(worker) == expected
        self.lose(expected)

    @rule(worker=WORKERS)
    def release_holder(self, worker: int) -> None:
        expected = self.of_worker(worker)
        assert self.registry.release_holder(f"w{worker}") == expected
        self.lose(expected)

    @rule(alive=st.sets(WORKERS))
    def sweep(self, alive: set[int]) -> None:
        expected = tuple(lease for lease, worker in self.held.values() if worker not in alive)
        assert self.registry.sweep(lambda pid, _started_s: pid in alive) == expected
        self.lose(expected)

    @rule(key_id=KEYS)
    def retire(self, key_id: str) -> None:
        assert self.registry.retire(key_id, "401") == (key_id not in self.retired)
        self.retired.add(key_id)

    @rule(key_id=KEYS, ahead_s=st.floats(min_value=-10.0, max_value=100.0))
    def park(self, key_id: str, ahead_s: float) -> None:
        until_s = self.clock.instant_s + ahead_s
        if self.registry.park(key_id, until_s, "quota"):
            self.parked_until_s[key_id] = until_s
        else:
            assert key_id in self.retired or until_s <= max(self.parked_until_s[key_id], self.clock.instant_s)

    @rule(key_id=KEYS)
    def unpark(self, key_id: str) -> None:
        was_parked = key_id not in self.retired and not self.is_usable(key_id)
        assert self.registry.unpark(key_id) == was_parked
        if was_parked:
            self.parked_until_s[key_id] = 0.0

    @rule(seconds=st.floats(min_value=0.0, max_value=50.0))
    def pass_time(self, seconds: float) -> None:
        self.clock.instant_s += seconds

    @invariant()
    def status_agrees(self) -> None:
        for status in self.registry.status():
            holders = [held.lease for held in status.holders]
            assert holders == [lease for lease, _ in self.held.values() if lease.key_id == status.key_id]
            assert status.slots == 0 or len(holders) <= status.slots
            assert (status.health is KeyHealth.USABLE) == self.is_usable(status.key_id)

    @invariant()
    def only_held_fences_are_valid(self) -> None:
        assert all(self.registry.valid(lease.key_id, fence) for fence, (lease, _) in self.held.items())
        assert not any(self.registry.valid(lease.key_id, lease.fence) for lease in self.freed)


TestLeasing = Leasing.TestCase
TestLeasing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
