"""Which run of this machine holds which key: one lock file per slot, held by the supervisor while it leases the key.

A run's own Manager keeps its leases; two runs have two Managers. What both must agree on, that a key serves so many
models at once, is a kernel lock on a file in the state directory, which falls with the supervisor however it dies.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from benchrunner.records import Key
from benchrunner.registry.state_dir import open_private

NOTE_BYTES = 200


@dataclass(frozen=True, slots=True)
class KeyLock:
    """One slot of a key, held by this process until `release`."""

    descriptor: int

    def release(self) -> None:
        """Let another run have the slot."""
        os.ftruncate(self.descriptor, 0)
        os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class HeldBy:
    """Who has the key: what its holder wrote down, e.g. "run 20260101T000000-5.2-ab12, process 4711"."""

    note: str


class KeyLocks:
    """The lock files under one directory. Any number of supervisors of this machine use them."""

    def __init__(self, directory: Path) -> None:
        """Make the directory, 0700, where it is missing."""
        directory.mkdir(mode=0o700, exist_ok=True)
        self._directory = directory

    def take(self, key: Key, note: str) -> KeyLock | HeldBy:
        """Return a free slot of the key, or who holds the last one that was looked at. Never waits."""
        holder = ""
        for slot in range(max(1, key.slots)):
            descriptor = open_private(self._directory / f"{key.fingerprint}-{slot}.lock")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, NOTE_BYTES, 0).decode("utf-8", "replace").strip()
                os.close(descriptor)
                continue
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, note.encode()[:NOTE_BYTES], 0)
            return KeyLock(descriptor)
        return HeldBy(holder or "another run")


def notes(directory: Path) -> dict[str, tuple[str, ...]]:
    """Return, by key's fingerprint, what the holders of its slots wrote down. Takes no lock: nobody is kept waiting.

    What a killed holder wrote stays until the next one; whoever asks knows which runs live.
    """
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(directory.glob("*-*.lock")) if directory.is_dir() else ():
        note = path.read_bytes()[:NOTE_BYTES].decode("utf-8", "replace").strip()
        if note:
            fingerprint = path.name.rpartition("-")[0]
            found[fingerprint] = (*found.get(fingerprint, ()), note)
    return found
