"""Who drives a run: a kernel lock on a file beside the database, which falls when its owner dies, however it dies.

SQLite lets several invocations write one runs.db, each its own run. What it cannot see is two supervisors driving
*the same* run (a `resume` beside the run it would resume): both would send the trials that are left.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import psutil

from benchrunner.locks import is_locked


class FileLock:
    """An exclusive lock on a file of its own, never on the database: closing a second handle on a database file
    drops the locks SQLite holds on it.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, wait: bool) -> FileLock | None:
        """Return the lock, or None when another holder has it and `wait` is False. Raises OSError."""
        while True:
            # O_CLOEXEC is Python's default: a worker that outlives its supervisor must not inherit the lock.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(descriptor)
                return None
            except BaseException:
                os.close(descriptor)
                raise
            # The last holder removes the file. A lock on a file that is no longer there excludes nobody.
            if _is_at(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
                return cls(path, descriptor)
            os.close(descriptor)

    def release(self) -> None:
        """Remove the file and let the lock go, in that order. A second call does nothing."""
        if self._descriptor < 0:
            return
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


def holder_pid(path: Path) -> str:
    """Return the process id the holder wrote into its lock file, or "unknown" while it is between lock and write."""
    try:
        return path.read_text() or "unknown"
    except FileNotFoundError:
        return "unknown"


def is_driven(database: Path, run_id: str) -> bool:
    """Return whether a supervisor of this machine drives the run now; looking keeps nobody from taking it."""
    path = run_lock_path(database, run_id)
    try:
        holder = int(path.read_text() or 0)
    except (FileNotFoundError, ValueError):
        return False
    if holder and not psutil.pid_exists(holder):
        return False
    # A process of that number lives, or is between lock and write. Its number may be another's by now: ask the kernel.
    return is_locked(path)


def run_lock_path(database: Path, run_id: str) -> Path:
    """Return where the lock of one run stands: beside the database, its name beginning with the database's."""
    return database.with_name(f"{database.name}-{run_id.replace('/', '_')}.lock")


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)
