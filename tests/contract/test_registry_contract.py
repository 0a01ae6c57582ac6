"""What every registry client promises, in process and over a Manager's socket alike."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import multiprocess
import pytest

from benchrunner.clock import SystemClock
from benchrunner.errors import UnknownKey
from benchrunner.records import Lease
from benchrunner.registry.client import RegistryClient
from benchrunner.registry.host import start_host
from benchrunner.registry.life import LifeLock
from benchrunner.registry.service import KeyHealth, KeyRegistry, KeyRow

KEYS = (
    KeyRow(key_id="key0", provider="ideallab", slots=1),
    KeyRow(key_id="key1", provider="ideallab", slots=2),
    KeyRow(key_id="azure", provider="azure", slots=0),
)


@pytest.fixture
def in_process() -> RegistryClient:
    return KeyRegistry(KEYS, SystemClock())


@pytest.fixture
def in_manager() -> Iterator[RegistryClient]:
    context = multiprocess.get_context("forkserver")
    context.set_forkserver_preload(["benchrunner.registry.host"])
    # Not tmp_path: a unix socket's path is short.
    with tempfile.TemporaryDirectory() as short, LifeLock(Path(short) / "life") as life:
        host = start_host(context, keys=KEYS, socket_dir=Path(short), life_lock=life.path)
        try:
            yield host.client()
        finally:
            host.stop(timeout_s=5.0)
        assert not host.alive()


@pytest.fixture(params=["in_process", pytest.param("in_manager", marks=pytest.mark.slow)])
def registry(request: pytest.FixtureRequest) -> RegistryClient:
    client: RegistryClient = request.getfixturevalue(request.param)
    return client


def lease(registry: RegistryClient, key_id: str, holder: str, pid: int = 0) -> Lease:
    granted = registry.lease(key_id, model="qwen-7b", shard_id="s0", holder=holder, pid=pid)
    assert granted is not None
    return granted


def test_lease_says_for_whom_and_what_it_is(registry: RegistryClient) -> None:
    """A lease carries all that a log line about it needs."""
    granted = registry.lease("key0", model="qwen-7b", shard_id="s0", holder="r/s0/w0")
    assert granted == Lease(key_id="key0", model="qwen-7b", shard_id="s0", holder="r/s0/w0", fence=1)


def test_full_key_gives_no_lease_until_one_is_released(registry: RegistryClient) -> None:
    """Slots are a bound, and a released slot is the next one's under a higher fence."""
    # Given a key with both its slots taken
    first, second = lease(registry, "key1", "a"), lease(registry, "key1", "b")
    assert registry.lease("key1", model="qwen-7b", shard_id="s0", holder="c") is None
    # When one is released
    assert registry.release("key1", first.fence)
    # Then it can be had again, under a fence above all before
    third = lease(registry, "key1", "c")
    assert third.fence > second.fence > first.fence
    assert registry.lease("key1", model="qwen-7b", shard_id="s0", holder="d") is None


def test_key_without_bound_takes_everybody(registry: RegistryClient) -> None:
    """Zero slots mean no bound."""
    fences = [lease(registry, "azure", f"w{n}").fence for n in range(20)]
    assert fences == sorted(set(fences))


def test_asking_twice_grants_once(registry: RegistryClient) -> None:
    """A holder whose answer was lost asks again and has one lease, not two."""
    # Given a holder / When it asks twice / Then it has the same lease, and the other slot is still free
    assert lease(registry, "key1", "a") == lease(registry, "key1", "a")
    assert lease(registry, "key1", "b").holder == "b"


def test_late_release_is_harmless(registry: RegistryClient) -> None:
    """A release under an old fence frees nothing of the next holder's."""
    # Given a key released and leased anew
    old = lease(registry, "key0", "a")
    registry.release("key0", old.fence)
    new = lease(registry, "key0", "b")
    # When the first holder releases again
    assert not registry.release("key0", old.fence)
    # Then the second keeps it
    assert not registry.valid("key0", old.fence)
    assert registry.valid("key0", new.fence)


def test_lease_moves_to_another_shard_under_a_new_fence(registry: RegistryClient) -> None:
    """The slot stays taken all the while; what the holder and its process were stays too."""
    # Given a lease of a process
    old = lease(registry, "key0", "a", pid=10)
    # When it is moved to the next shard of its model
    new = registry.move("key0", old.fence, "s1")
    # Then it is the only one on the key, for that shard, under a higher fence
    assert new == Lease(key_id="key0", model="qwen-7b", shard_id="s1", holder="a", fence=old.fence + 1)
    assert [holding.lease for holding in registry.status()[0].holders] == [new]
    assert not registry.valid("key0", old.fence)
    # And it ends with its process, as the first would have
    assert registry.reap(10) == (new,)


def test_lease_that_is_not_held_does_not_move(registry: RegistryClient) -> None:
    """A holder that died has lost its lease; there is nothing to move, and nothing is granted."""
    old = lease(registry, "key0", "a", pid=10)
    registry.reap(10)
    assert registry.move("key0", old.fence, "s1") is None
    assert registry.status()[0].holders == ()


def test_dead_process_gives_back_all_it_held(registry: RegistryClient) -> None:
    """The supervisor, told of a death by a sentinel, need not know what the worker held."""
    # Given a process with two leases, one of them bound later, beside another's
    first = lease(registry, "key0", "a", pid=10)
    second = lease(registry, "key1", "a")
    assert registry.bind("key1", second.fence, pid=10, pid_started_s=1.0)
    other = lease(registry, "key1", "b", pid=11)
    # When it is reaped / Then both are freed, once, and the other's stays
    assert registry.reap(10) == (first, second)
    assert registry.reap(10) == ()
    assert registry.valid("key1", other.fence)


def test_holder_gives_back_all_it_held(registry: RegistryClient) -> None:
    """Leases can be freed by name too, before any process is known for them."""
    first, second = lease(registry, "key0", "a"), lease(registry, "azure", "a")
    lease(registry, "azure", "b")
    assert registry.release_holder("a") == (first, second)
    assert [held.lease.holder for status in registry.status() for held in status.holders] == ["b"]


def test_binding_a_fence_that_is_not_held_says_so(registry: RegistryClient) -> None:
    """A worker that starts too late learns that its lease is gone."""
    assert not registry.bind("key0", 99, pid=10, pid_started_s=1.0)


def test_retired_key_is_leased_no_more_and_keeps_its_leases(registry: RegistryClient) -> None:
    """Retiring stops new leases; those that run end in their own time."""
    # Given a key in use
    running = lease(registry, "key1", "a")
    # When it is retired, twice
    assert registry.retire("key1", "401 invalid key")
    assert not registry.retire("key1", "again")
    # Then nobody else gets it, and its status says why
    assert registry.lease("key1", model="qwen-7b", shard_id="s0", holder="b") is None
    assert registry.valid("key1", running.fence)
    status = registry.status()[1]
    assert (status.health, status.reason, len(status.holders)) == (KeyHealth.RETIRED, "401 invalid key", 1)


def test_parked_key_is_leased_again_once_unparked(registry: RegistryClient) -> None:
    """Parking is for a while, and `inf` is a while that `unpark` ends."""
    # Given a parked key
    assert registry.park("key0", float("inf"), "daily quota")
    assert registry.lease("key0", model="qwen-7b", shard_id="s0", holder="a") is None
    assert registry.status()[0].health is KeyHealth.PARKED
    # When it is unparked / Then it can be had
    assert registry.unpark("key0")
    assert lease(registry, "key0", "a").fence == 1


def test_status_lists_every_key_in_order(registry: RegistryClient) -> None:
    """What was registered is what is shown."""
    rows = [(status.key_id, status.provider, status.slots, status.health) for status in registry.status()]
    assert rows == [(row.key_id, row.provider, row.slots, KeyHealth.USABLE) for row in KEYS]


def test_unknown_key_is_named_with_the_known_ones(registry: RegistryClient) -> None:
    """A misspelt key_id is a sentence that shows the right ones, on either side of a socket."""
    with pytest.raises(UnknownKey, match="no key 'key9'; the registry holds key0, key1, azure"):
        registry.valid("key9", 1)


def test_threads_that_race_for_a_slot_get_it_once(registry: RegistryClient) -> None:
    """One of many askers at the same instant gets the one slot."""
    # Given eight threads at a barrier before one slot
    barrier = threading.Barrier(8)
    granted: list[Lease | None] = []

    def ask(number: int) -> None:
        barrier.wait()
        granted.append(registry.lease("key0", model="m", shard_id="s", holder=f"w{number}"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    # When they all ask
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Then one has it
    assert len(granted) == 8
    assert [lease.fence for lease in granted if lease] == [1]
