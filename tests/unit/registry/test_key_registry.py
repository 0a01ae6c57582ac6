"""The key registry alone, under a clock that a test moves by hand: what it promises beyond the contract suite."""

from __future__ import annotations

import math

import pytest

from benchrunner.errors import RegistryError
from benchrunner.records import Lease
from benchrunner.registry.service import KeyHealth, KeyRegistry, KeyRow


class HandClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.instant_s = 1000.0

    def now_s(self) -> float:
        return self.instant_s

    def sleep_s(self, seconds: float) -> None:
        self.instant_s += seconds

    def utc(self) -> str:
        raise AssertionError("the registry has no business with wall-clock time")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def registry(clock: HandClock) -> KeyRegistry:
    return KeyRegistry(
        [
            KeyRow(key_id="key0", provider="ideallab", slots=1),
            KeyRow(key_id="key1", provider="ideallab", slots=2),
            KeyRow(key_id="azure", provider="azure", slots=0),
        ],
        clock,
    )


def lease(
    registry: KeyRegistry, key_id: str, holder: str, *, model: str = "qwen-7b", pid: int = 0, started_s: float = 0.0
) -> Lease | None:
    return registry.lease(
        key_id, model=model, shard_id=f"shard-of-{holder}", holder=holder, pid=pid, pid_started_s=started_s
    )


def held(registry: KeyRegistry, key_id: str) -> list[str]:
    return [h.lease.holder for status in registry.status() if status.key_id == key_id for h in status.holders]


def health(registry: KeyRegistry, key_id: str) -> KeyHealth:
    return next(status.health for status in registry.status() if status.key_id == key_id)


def test_key_named_twice_is_refused_at_once(clock: HandClock) -> None:
    """Two rows of one id would be two semaphores over one credential."""
    # Given two rows with one id / When a registry is made of them / Then it says so
    with pytest.raises(RegistryError, match="'key0' is registered twice"):
        KeyRegistry([KeyRow(key_id="key0", provider="a"), KeyRow(key_id="key0", provider="b")], clock)


def test_negative_slots_are_refused_at_once(clock: HandClock) -> None:
    """Only 0 means no bound."""
    with pytest.raises(RegistryError, match="-1 slots"):
        KeyRegistry([KeyRow(key_id="key0", provider="a", slots=-1)], clock)


def test_second_shard_of_the_same_model_needs_a_slot_of_its_own(registry: KeyRegistry) -> None:
    """A slot takes one lease, whatever the models are."""
    # Given a key of one slot that serves a model
    assert lease(registry, "key0", "r/s0/w0") is not None
    # When another shard of that model asks
    again = lease(registry, "key0", "r/s1/w1")
    # Then it gets none
    assert again is None


def test_uncounted_lease_takes_no_slot_and_needs_none(registry: KeyRegistry) -> None:
    """Under `native` slots are not consulted, yet every worker has a fence and a row."""
    # Given a full key
    counted = lease(registry, "key0", "r/s0/w0")
    # When uncounted leases are asked for, and the counted one is released
    native = [registry.lease("key0", model="m", shard_id="s", holder=f"r/s/{n}", counted=False) for n in range(3)]
    assert counted is not None
    registry.release("key0", counted.fence)
    # Then all were granted, and the slot is free for a counted one beside them
    assert [grant.fence for grant in native if grant] == [2, 3, 4]
    assert lease(registry, "key0", "r/s9/w9") is not None
    assert lease(registry, "key0", "r/s8/w8") is None


def test_holder_that_asks_for_another_shard_is_told_of_its_mistake(registry: KeyRegistry) -> None:
    """A holder's name stands for one worker of one shard; another shard under it is a bug, not a denial."""
    # Given a holder with a lease
    lease(registry, "key0", "r/s0/w0", model="qwen-7b")
    # When it asks for another model / Then the message names both, and the fence to release
    with pytest.raises(RegistryError, match=r"qwen-7b .* asks for qwen-72b .* release fence 1"):
        lease(registry, "key0", "r/s0/w0", model="qwen-72b")


def test_repeat_of_a_lost_answer_is_granted_even_after_the_key_was_retired(registry: KeyRegistry) -> None:
    """The lease exists; that its answer got lost must not strand it."""
    # Given a lease whose key is retired meanwhile
    first = lease(registry, "key0", "r/s0/w0")
    registry.retire("key0", "401")
    # When its holder asks again / Then it hears of the lease it has
    assert lease(registry, "key0", "r/s0/w0") == first


def test_parked_key_comes_back_by_itself_at_its_instant(registry: KeyRegistry, clock: HandClock) -> None:
    """Nobody need unpark a key whose quota has reset."""
    # Given a key parked for an hour
    registry.park("key0", clock.now_s() + 3600.0, "daily quota")
    # When nearly the hour has passed / Then it is not leased
    clock.sleep_s(3599.0)
    assert lease(registry, "key0", "r/s0/w0") is None
    assert health(registry, "key0") is KeyHealth.PARKED
    # When it has passed / Then it is, and its reason is forgotten
    clock.sleep_s(1.0)
    assert registry.status()[0].reason == ""
    assert lease(registry, "key0", "r/s0/w0") is not None


def test_of_two_parkings_the_later_end_counts(registry: KeyRegistry, clock: HandClock) -> None:
    """A second, shorter answer must not wake a key whose quota is spent for longer."""
    # Given a key parked for an hour
    until_s = clock.now_s() + 3600.0
    assert registry.park("key0", until_s, "daily quota")
    # When it is parked for a minute / Then nothing changes
    assert not registry.park("key0", clock.now_s() + 60.0, "minute quota")
    status = registry.status()[0]
    assert (status.parked_until_mono_s, status.reason) == (until_s, "daily quota")


def test_parking_into_the_past_changes_nothing(registry: KeyRegistry, clock: HandClock) -> None:
    """A reset that has already been is no reason to say a key was parked."""
    assert not registry.park("key0", clock.now_s(), "quota")
    assert health(registry, "key0") is KeyHealth.USABLE


def test_key_parked_without_end_waits_for_unpark(registry: KeyRegistry, clock: HandClock) -> None:
    """inf is a valid instant."""
    # Given a key parked without end
    registry.park("key0", math.inf, "held by hand")
    clock.sleep_s(1e9)
    assert health(registry, "key0") is KeyHealth.PARKED
    # When it is unparked / Then it is usable, once
    assert registry.unpark("key0")
    assert not registry.unpark("key0")
    assert health(registry, "key0") is KeyHealth.USABLE


def test_retired_key_is_neither_parked_nor_unparked_back(registry: KeyRegistry, clock: HandClock) -> None:
    """A refused credential stays out for the run, whatever is heard of it later."""
    # Given a retired key
    assert registry.retire("key0", "401 invalid key")
    # When it is parked, unparked and retired again
    answers = (registry.park("key0", clock.now_s() + 1, "x"), registry.unpark("key0"), registry.retire("key0", "x"))
    # Then nothing changes
    assert answers == (False, False, False)
    assert (registry.status()[0].health, registry.status()[0].reason) == (KeyHealth.RETIRED, "401 invalid key")


def test_sweep_frees_what_the_dead_held_and_nothing_else(registry: KeyRegistry) -> None:
    """Dead is the process of that pid and that creation time; a lease without a process has nobody to die."""
    # Given leases of a dead process, of a live one, of a live one that reuses a dead one's pid, and of none
    dead = lease(registry, "key0", "dead", pid=10, started_s=1.0)
    lease(registry, "key1", "live", pid=11, started_s=2.0)
    reused = lease(registry, "key1", "reused", pid=12, started_s=3.0)
    lease(registry, "azure", "unbound")
    alive = {(11, 2.0), (12, 99.0)}
    # When the registry is swept
    freed = registry.sweep(lambda pid, started_s: (pid, started_s) in alive)
    # Then only the dead ones' are free
    assert freed == (dead, reused)
    assert (held(registry, "key0"), held(registry, "key1"), held(registry, "azure")) == ([], ["live"], ["unbound"])


def test_sweep_asks_once_per_process_and_holds_no_lock_meanwhile(registry: KeyRegistry) -> None:
    """A slow question about one process must not keep others from their leases."""
    # Given one process with two leases
    lease(registry, "key1", "a", pid=10, started_s=1.0)
    lease(registry, "key1", "b", pid=10, started_s=1.0)
    asked: list[int] = []

    # When the question itself uses the registry, which a held lock would turn into a deadlock
    def is_alive(pid: int, _started_s: float) -> bool:
        asked.append(pid)
        return registry.valid("key1", 1)

    # Then it is asked once
    assert registry.sweep(is_alive) == ()
    assert asked == [10]


def test_lease_bound_elsewhere_during_a_sweep_is_kept(registry: KeyRegistry) -> None:
    """A lease handed to a living process is not lost to the death of the one before."""
    # Given a lease of a dying process
    granted = lease(registry, "key0", "a", pid=10, started_s=1.0)
    assert granted is not None

    # When it is bound to another while the sweep looks
    def is_alive(_pid: int, _started_s: float) -> bool:
        registry.bind("key0", granted.fence, pid=20, pid_started_s=5.0)
        return False

    # Then it stays
    assert registry.sweep(is_alive) == ()
    assert registry.valid("key0", granted.fence)


def test_reaping_pid_zero_frees_nothing(registry: KeyRegistry) -> None:
    """0 means that no process is named yet."""
    # Given a lease not yet bound / When pid 0 is reaped / Then it stays
    lease(registry, "key0", "a")
    assert registry.reap(0) == ()
    assert held(registry, "key0") == ["a"]


def test_status_shows_holders_oldest_first_with_their_process(registry: KeyRegistry, clock: HandClock) -> None:
    """`benchrunner keys` can say who holds a key, in which process, since when."""
    # Given two holders, the second bound later
    lease(registry, "key1", "a", pid=10, started_s=1.5)
    clock.sleep_s(2.0)
    second = lease(registry, "key1", "b")
    assert second is not None
    registry.bind("key1", second.fence, pid=11, pid_started_s=2.5)
    # When asked / Then both are there
    holders = registry.status()[1].holders
    assert [(h.lease.holder, h.pid, h.pid_started_s, h.since_mono_s) for h in holders] == [
        ("a", 10, 1.5, 1000.0),
        ("b", 11, 2.5, 1002.0),
    ]
