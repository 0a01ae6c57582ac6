"""Machine-wide locks on keys: files and kernel locks, no process."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchrunner.errors import StateError
from benchrunner.records import Key
from benchrunner.registry.key_locks import HeldBy, KeyLock, KeyLocks


def make_key(slots: int = 1, fingerprint: str = "00ff") -> Key:
    return Key(key_id="key0", provider="p", account="a", secret="s", fingerprint=fingerprint, limits=(), slots=slots)


@pytest.fixture
def locks(tmp_path: Path) -> KeyLocks:
    return KeyLocks(tmp_path / "leases")


def taken(found: KeyLock | HeldBy) -> KeyLock:
    assert isinstance(found, KeyLock)
    return found


def test_a_slot_is_held_once_and_the_next_is_told_by_whom(locks: KeyLocks) -> None:
    """Two runs never hold one slot; who comes second learns who was first."""
    # Given one slot, taken
    first = taken(locks.take(make_key(), "run one"))
    # When another asks, then it is told the holder
    assert locks.take(make_key(), "run two") == HeldBy("run one")
    # And once released, it is free
    first.release()
    taken(locks.take(make_key(), "run two")).release()


def test_every_slot_can_be_held(locks: KeyLocks) -> None:
    """A key of two slots serves two runs, not three."""
    held = [taken(locks.take(make_key(slots=2), f"run {n}")) for n in range(2)]
    assert isinstance(locks.take(make_key(slots=2), "run 2"), HeldBy)
    for lock in held:
        lock.release()


def test_keys_do_not_stand_in_each_others_way(locks: KeyLocks) -> None:
    """A lock is on one credential alone."""
    first = taken(locks.take(make_key(fingerprint="aa"), "run"))
    second = taken(locks.take(make_key(fingerprint="bb"), "run"))
    first.release()
    second.release()


def test_a_planted_link_is_refused(locks: KeyLocks, tmp_path: Path) -> None:
    """A lock file that is a symbolic link is never followed."""
    (tmp_path / "leases" / "00ff-0.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="symbolic link"):
        locks.take(make_key(), "run")
    assert not (tmp_path / "elsewhere").exists()
