"""The lease desk on in-process registries: what is granted, locked, and granted anew after the Manager died."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchrunner.engine.leases import RESTARTS, Holder, LeaseDesk
from benchrunner.errors import RegistryError
from benchrunner.records import Key, Lease
from benchrunner.registry.key_locks import HeldBy, KeyLocks
from benchrunner.registry.service import KeyHealth, KeyRegistry, KeyRow
from benchrunner.testing import FakeClock

KEY = Key(key_id="key0", provider="p", account="a", secret="s", fingerprint="00ff", limits=(), slots=1)


class HostStandIn:
    """A Manager that is this process; `die` makes it one that was killed."""

    def __init__(self, last_fence: int) -> None:
        self.registry = KeyRegistry([KeyRow(key_id="key0", provider="p")], FakeClock(), last_fence)
        self.sentinel = 0
        self.dead = False

    def client(self) -> Any:
        if self.dead:
            raise RegistryError("the Manager is gone")
        return self.registry

    def stop(self, timeout_s: float) -> None:
        self.dead = True


class Desks:
    """Makes desks, and keeps the Managers they started."""

    def __init__(self, path: Path) -> None:
        self.locks = KeyLocks(path / "leases")
        self.hosts: list[HostStandIn] = []

    def start(self, last_fence: int) -> Any:
        self.hosts.append(HostStandIn(last_fence))
        return self.hosts[-1]

    def make(self, note: str, **more: Any) -> LeaseDesk:
        settings: dict[str, Any] = {"counted": True, "locks": self.locks} | more
        return LeaseDesk(start=self.start, keys={"key0": KEY}, note=note, **settings)


@pytest.fixture
def desks(tmp_path: Path) -> Desks:
    return Desks(tmp_path)


def holder(name: str = "r/s0/w0") -> Holder:
    return Holder(name=name, model="m", shard_id="s0", pid=1, pid_started_s=1.0)


def granted(found: Lease | HeldBy) -> Lease:
    assert isinstance(found, Lease)
    return found


def test_two_runs_do_not_lease_one_key(desks: Desks) -> None:
    """A key that one run leases is held for the other, by name, until it is released."""
    mine, theirs = desks.make("run one"), desks.make("run two")
    granted(mine.lease("key0", holder()))
    assert theirs.lease("key0", holder()) == HeldBy("run one")
    mine.release("r/s0/w0")
    granted(theirs.lease("key0", holder()))


def test_uncounted_leases_lock_nothing(desks: Desks) -> None:
    """Under `native` keys are not consulted, here or machine-wide."""
    mine = desks.make("run one", counted=False)
    granted(mine.lease("key0", holder("a")))
    granted(mine.lease("key0", holder("b")))
    granted(desks.make("run two").lease("key0", holder()))


def test_a_lease_that_moves_keeps_its_key(desks: Desks) -> None:
    """Between one shard and the next no other run can have the key, and the release frees what it moved to."""
    mine, theirs = desks.make("run one"), desks.make("run two")
    first = granted(mine.lease("key0", holder()))
    second = mine.move("r/s0/w0", "s1")
    assert second is not None
    assert (second.shard_id, second.fence) == ("s1", first.fence + 1)
    assert theirs.lease("key0", holder()) == HeldBy("run one")
    assert mine.release("r/s0/w0") == second
    granted(theirs.lease("key0", holder()))


def test_a_moved_lease_is_granted_anew_for_its_present_shard(desks: Desks) -> None:
    """After a Manager's death the new one knows what the worker is busy with now."""
    mine = desks.make("run one")
    mine.lease("key0", holder())
    moved = mine.move("r/s0/w0", "s1")
    desks.hosts[-1].dead = True
    ((old, new),) = mine.revive()
    assert (old, new.shard_id) == (moved, "s1")


def test_a_lease_lost_with_its_worker_does_not_move(desks: Desks) -> None:
    """The Manager may know of a death first; the sentinel's news frees the key a moment later."""
    mine = desks.make("run one")
    mine.lease("key0", holder())
    desks.hosts[-1].registry.reap(1)
    assert mine.move("r/s0/w0", "s1") is None
    assert mine.release("r/s0/w0") is not None


def test_a_lease_refused_by_the_registry_leaves_no_lock(desks: Desks) -> None:
    """A retired key is not locked for the others by a run that cannot use it."""
    mine = desks.make("run one")
    mine.retire("key0", "refused")
    assert isinstance(mine.lease("key0", holder()), HeldBy)
    granted(desks.make("run two").lease("key0", holder()))


def test_after_the_manager_died_leases_are_granted_anew(desks: Desks) -> None:
    """Live holders keep their keys under higher fences; retired keys stay retired."""
    # Given a lease under the highest fence so far, and a Manager that dies
    desk = desks.make("run one", last_fence=7)
    old = granted(desk.lease("key0", holder()))
    desk.retire("key0", "refused")
    desks.hosts[-1].dead = True
    with pytest.raises(RegistryError):
        desk.park("key0", 1.0, "gone")
    # When a new one takes over
    renewed = desk.revive()
    # Then the holder has its key, fences went on, and the key is still refused to newcomers
    assert [(before, after.holder) for before, after in renewed] == [(old, old.holder)]
    assert renewed[0][1].fence > old.fence > 7
    (status,) = desks.hosts[-1].registry.status()
    assert (status.health, len(status.holders)) == (KeyHealth.RETIRED, 1)


def test_a_manager_that_keeps_dying_is_given_up(desks: Desks) -> None:
    """Somebody who kills more Managers than a run restarts means it."""
    desk = desks.make("run one")
    for _ in range(RESTARTS):
        desk.revive()
    with pytest.raises(RegistryError, match="keeps killing"):
        desk.revive()
