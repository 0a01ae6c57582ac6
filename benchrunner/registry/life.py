"""Who is still alive: a supervisor, by a lock the kernel drops when it ends; a worker, by pid and creation time."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import psutil

from benchrunner.errors import RegistryError, StateError

SAME_PROCESS_S = 1.0
"""Creation times are read against the wall clock, which is stepped; two readings of one process may differ."""


class LifeLock:
    """A supervisor's proof of life: an exclusive lock on a file of its own, held until `release` or its end.

    Python opens files close-on-exec, so what the supervisor starts by `forkserver` or `spawn` does not keep the
    lock for it. A plain `fork` would.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock, making the file (0600) where needed. Raises RegistryError while another process has it."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as fault:
            raise StateError(f"cannot open the life lock {path}: {fault.strerror}") from fault
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise RegistryError(f"another process holds the life lock {path}; each supervisor needs its own") from None

    def release(self) -> None:
        """Let go, remove the file, and thereby end whatever dies with this lock. May be called twice."""
        if self._fd >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> LifeLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def die_with_holder(life_lock: Path, *, remove: Iterable[Path] = ()) -> None:
    """End this process as soon as nobody holds the life lock any more; `remove` files are deleted on the way.

    Returns at once: a daemon thread waits in the kernel, so nothing polls and no kind of death goes unnoticed. If
    nobody holds the lock now, the process ends now.
    """
    fd = os.open(life_lock, os.O_RDONLY)
    doomed = tuple(remove)

    def wait() -> None:
        fcntl.flock(fd, fcntl.LOCK_SH)
        for path in doomed:
            path.unlink(missing_ok=True)
        # Other threads may be anywhere and nobody is left to clean up for: no finalizers, no joins.
        os._exit(0)

    threading.Thread(target=wait, name="dies-with-holder", daemon=True).start()


def started_s(pid: int) -> float | None:
    """Return when the process was created, seconds since 1970, or None if there is no such process."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


class ProcessWatch:
    """Tells whether processes named by pid and creation time still live. For one thread."""

    def __init__(self) -> None:
        # psutil's own handle compares boot-relative times, which a step of the wall clock does not move; the
        # creation time handed in serves only to get the right handle at first sight, soon after the process began.
        self._seen: dict[tuple[int, float], psutil.Process] = {}

    def is_alive(self, pid: int, pid_started_s: float) -> bool:
        """Return whether that very process is there and not a zombie."""
        try:
            process = self._seen.get((pid, pid_started_s))
            if process is None:
                process = psutil.Process(pid)
                if abs(process.create_time() - pid_started_s) > SAME_PROCESS_S:
                    return False
                self._seen[(pid, pid_started_s)] = process
            alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            alive = False
        except psutil.AccessDenied:
            return True  # it is there, if not ours to look at: its lease must not be given to somebody else
        if not alive:
            self._seen.pop((pid, pid_started_s), None)
        return alive
