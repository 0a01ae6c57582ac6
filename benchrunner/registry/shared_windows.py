"""The windows of every domain, shared by all threads, processes and invocations of one user on one machine.

    worker process ── threads ── mutex ──┐
    worker process ── threads ── mutex ──┼── flock (the kernel's) ── one memory-mapped file: the ledger
    another invocation ─────── mutex ────┘

There is no server. A caller enters the critical section, reads the clock inside it, decides, writes, leaves. The
kernel drops the lock of a process that dies, wherever it dies; the ledger is written so that no repair is needed then
(limits/window.py). After a reboot the monotonic clock starts anew, so the stamps of an earlier boot are void.
"""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from fcntl import LOCK_EX, LOCK_UN, flock
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from benchrunner.clock import Clock
from benchrunner.errors import RegistryError, StateError
from benchrunner.limits.ledger import CELL_BYTES, H_GENERATION, HEADER_CELLS, Ledger, format_header, header_fits
from benchrunner.limits.local import LedgerWindows
from benchrunner.records import Domain
from benchrunner.registry.state_dir import boot_id, open_private

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

GROWTH_BYTES = 256 * 1024
"""The file grows in such steps, so that a handful of domains does not remap it a handful of times."""

_NOT_OPEN, _CLOSED = -1, -2


class SharedWindows(LedgerWindows):
    """Windows in a memory-mapped file. See `Windows` for the verbs.

    Any thread may call. A forked child opens the file for itself on first use; anything else that wants the same
    windows makes its own SharedWindows over the same path. Raises StateError if the file cannot be trusted or used.
    """

    def __init__(self, path: Path, clock: Clock, boot: str | None = None) -> None:
        self._path = path
        self._now_s = clock.now_s
        self._boot = int.from_bytes(blake2b((boot or boot_id()).encode(), digest_size=7).digest(), "little")
        self._descriptor = _NOT_OPEN
        self._map: mmap.mmap | None = None
        self._ledger: Ledger
        # Keeps: at most one thread of this process holds the kernel lock, which belongs to the descriptor and would
        # let all of them in.
        self._mutex = threading.Lock()
        with self._mutex:
            self._open()
        _all_windows.add(self)

    def register(self, domains: Sequence[Domain]) -> None:
        """See Windows."""
        self._alone(self._register, tuple(domains))

    def close(self) -> None:
        """See Windows."""
        with self._mutex:
            if self._descriptor >= 0:
                self._unmap()
                os.close(self._descriptor)
            self._descriptor = _CLOSED

    def _alone(self, act: Callable[[Ledger, float, *Ts], T], *args: *Ts) -> T:
        with self._mutex:
            descriptor = self._descriptor
            if descriptor < 0:
                descriptor = self._open()
            try:
                # Inside the try: a signal's exception may come right after the call. Unlocking twice does no harm.
                flock(descriptor, LOCK_EX)
                ledger = self._ledger
                if ledger.cell[H_GENERATION] != ledger.generation:
                    ledger = self._follow()
                return act(ledger, self._now_s(), *args)
            finally:
                flock(descriptor, LOCK_UN)

    def _register(self, ledger: Ledger, now_s: float, domains: tuple[Domain, ...]) -> None:
        wanted = ledger.cells_wanted(domains) * CELL_BYTES
        if wanted > self._size():
            self._extend(wanted)
            ledger = self._remap()
        ledger.register(now_s, domains)

    def _open(self) -> int:
        """Return the descriptor of the file, opened and mapped.

        A file that is no ledger, or one of another boot or layout, becomes an empty one.
        """
        if self._descriptor == _CLOSED:
            raise RegistryError("these windows are closed")
        self._descriptor = open_private(self._path)
        try:
            flock(self._descriptor, LOCK_EX)
            if self._size() < HEADER_CELLS * CELL_BYTES:
                self._extend(HEADER_CELLS * CELL_BYTES)
            self._map_file()
            self._ledger = self._void_or_ours()
        except BaseException:
            os.close(self._descriptor)  # drops the lock, too
            self._descriptor = _NOT_OPEN
            raise
        flock(self._descriptor, LOCK_UN)
        return self._descriptor

    def _void_or_ours(self) -> Ledger:
        mapped = self._mapped()
        if not header_fits(mapped, self._boot):
            format_header(mapped, self._boot)
        return Ledger(mapped)

    def _follow(self) -> Ledger:
        """Read the directory anew after another process changed it, from a larger map if it made the file grow."""
        if self._size() != len(self._mapped()):
            return self._remap()
        self._require_ours()
        self._ledger.reload()
        return self._ledger

    def _remap(self) -> Ledger:
        self._unmap()
        self._map_file()
        self._require_ours()
        self._ledger = Ledger(self._mapped())
        return self._ledger

    def _require_ours(self) -> None:
        # Only another version of the program, or one started with another boot id, rewrites a file in use.
        if not header_fits(self._mapped(), self._boot):
            raise StateError(f"{self._path} was taken over by another version of benchrunner; let one of them finish")

    def _extend(self, wanted_bytes: int) -> None:
        size = self._size()
        steps = -(-(wanted_bytes - size) // GROWTH_BYTES)
        try:
            # Real zeros instead of a hole: a full disk must be an error here, not a SIGBUS at some later store.
            left = memoryview(bytes(steps * GROWTH_BYTES))
            while left:
                written = os.pwrite(self._descriptor, left, size)
                size, left = size + written, left[written:]
        except OSError as error:
            raise StateError(f"{self._path} cannot grow: {error.strerror}") from error

    def _size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def _map_file(self) -> None:
        whole = self._size() // CELL_BYTES * CELL_BYTES
        self._map = mmap.mmap(self._descriptor, whole)

    def _mapped(self) -> memoryview:
        assert self._map is not None
        return memoryview(self._map)

    def _unmap(self) -> None:
        self._ledger.release()
        if self._map is not None:
            self._map.close()
            self._map = None

    def _forget_parent(self) -> None:
        """In a forked child: leave the parent's descriptor (and its lock) alone, and open the file on next use."""
        # The parent's mutex may be held by a thread that does not exist here.
        self._mutex = threading.Lock()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = _NOT_OPEN
            self._unmap()


_all_windows: weakref.WeakSet[SharedWindows] = weakref.WeakSet()


def _forget_parents() -> None:
    for windows in list(_all_windows):
        windows._forget_parent()


# A hook instead of comparing process ids in every call, which would cost each permit a system call.
os.register_at_fork(after_in_child=_forget_parents)
