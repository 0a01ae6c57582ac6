"""Engine `local`: worker processes of this machine, forked from a preloaded server.

    supervisor ── forkserver (imports done once) ── fork ──> spare worker ── Begin ──> worker of a lease
                                                     fork ──> spare worker      (waits; the next lease costs no start)

The entry point is a top-level function and everything after it is orjson bytes: dill carries nothing of ours.
"""

from __future__ import annotations

import contextlib
import select
import selectors
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from benchrunner.clock import SystemClock
from benchrunner.engine import messages as ms
from benchrunner.engine.crew import CrewWorker
from benchrunner.engine.forking import deaf_children
from benchrunner.errors import EngineError

FORK_ATTEMPTS = 3
END_S = 2.0
SPARES = 3
"""Workers kept forked ahead of need: as many as keys usually come free at once."""


@dataclass(slots=True)
class LocalWorker:
    """A worker process and this end of its pipe."""

    process: Any
    pipe: Any
    itself: psutil.Process | None  # the very process, not a later one with its pid; None: it was gone at once
    _inbox: select.poll = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Watch the pipe; Connection.poll makes a selector anew each time it is asked, once per message."""
        self._inbox = select.poll()
        self._inbox.register(self.pipe.fileno(), select.POLLIN)

    @property
    def pid(self) -> int:
        """Return the process id."""
        pid: int = self.process.pid
        return pid

    @property
    def sentinel(self) -> Any:
        """Return what becomes ready when the process ends."""
        return self.process.sentinel

    @property
    def token(self) -> str:
        """Return "": its process is named by its id."""
        return ""

    @property
    def blameless(self) -> bool:
        """Return False: whatever ends a process of this machine may have been its own doing."""
        return False

    def started_s(self) -> float:
        """Return when the process began, as psutil tells it: what tells it from a later one with its pid."""
        return self.itself.create_time() if self.itself is not None else 0.0

    def send(self, messages: Sequence[ms.Message]) -> bool:
        """Write one packet; False when the worker is gone (its sentinel will say so)."""
        try:
            self.pipe.send_bytes(ms.encode(messages))
        except OSError:
            return False
        return True

    def receive(self) -> list[ms.Message]:
        """Return what can be read without blocking. An ended worker gives []."""
        messages: list[ms.Message] = []
        try:
            while self._inbox.poll(0):
                messages += ms.decode(self.pipe.recv_bytes())
        except (EOFError, ConnectionError):
            pass  # the sentinel reports the end, once everything said before it was read
        return messages

    def kill(self) -> None:
        """SIGKILL it, whatever the fork server thinks of it."""
        if self.itself is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self.itself.kill()

    def exit_code(self) -> int | None:
        """Return how it ended, None while it runs."""
        code: int | None = self.process.exitcode
        return code

    def close(self) -> None:
        """Make sure that the process has ended, and close the pipe.

        A fork server that was killed reports all its children as ended, though they live on: a worker whose lease is
        given to another must not send one more request.
        """
        self.kill()
        clock = SystemClock()
        deadline_s = clock.now_s() + END_S
        while _runs(self.itself) and clock.now_s() < deadline_s:
            clock.sleep_s(0.002)
        self.process.join(END_S)
        self.pipe.close()


def _runs(process: psutil.Process | None) -> bool:
    """Return whether the process can still do anything; a zombie that init has not reaped cannot."""
    try:
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class LocalPool:
    """Starts and reaps workers on this machine."""

    def __init__(self, context: Any, *, spares: int = SPARES) -> None:
        """Fork nothing yet; `prepare` does."""
        self._context, self._wanted_spares = context, spares
        self._spares: list[LocalWorker] = []

    def prepare(self, expected: int) -> None:
        """Fork spare workers, no more than `expected` are still to be needed."""
        while len(self._spares) < min(self._wanted_spares, expected):
            self._spares.append(self._fork())

    def _fork(self) -> LocalWorker:
        for attempt in range(1, FORK_ATTEMPTS + 1):
            try:
                return self._fork_once()
            except (EOFError, OSError) as error:
                # The fork server died under the request; the next one starts it again.
                if attempt == FORK_ATTEMPTS:
                    raise EngineError(f"no worker can be started: {error!r}") from error
        raise AssertionError("the loop above returns or raises")

    def _fork_once(self) -> LocalWorker:
        from benchrunner.engine.worker_entry import enter

        ours, theirs = self._context.Pipe()
        try:
            process = self._context.Process(target=enter, args=(theirs,), name="benchrunner-worker", daemon=True)
            with deaf_children():
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        try:
            itself = psutil.Process(process.pid)
            itself.create_time()
        except psutil.NoSuchProcess:
            itself = None
        return LocalWorker(process=process, pipe=ours, itself=itself)

    def take(self, provider: str) -> LocalWorker:
        """Return a worker that waits for its Begin: a spare one if it still lives, else a new one."""
        while self._spares:
            spare = self._spares.pop(0)
            if spare.exit_code() is None:
                return spare
            spare.close()
        return self._fork()

    def put_back(self, worker: CrewWorker) -> None:
        """Take back a worker that was not sent anything."""
        assert isinstance(worker, LocalWorker)
        self._spares.insert(0, worker)

    def close(self) -> None:
        """End the spares; workers handed out are their holder's to end."""
        for spare in self._spares:
            spare.send([ms.Stop(now=True)])
        for spare in self._spares:
            spare.process.join(END_S)
            spare.close()
        self._spares.clear()


class WaitList:
    """Pipes, sentinels and sockets that are waited for turn after turn: registered once, not at every wait."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._selector = selectors.DefaultSelector()

    def add(self, waitable: Any) -> None:
        """Wait for this one too, from now on."""
        self._selector.register(waitable, selectors.EVENT_READ)

    def drop(self, waitable: Any) -> None:
        """Wait for it no longer; to be called while it is still open."""
        self._selector.unregister(waitable)

    def wait(self, timeout_s: float) -> list[Any]:
        """Return those that are ready, within `timeout_s`."""
        return [key.fileobj for key, _ in self._selector.select(timeout_s)]

    def close(self) -> None:
        """Hold nothing any more."""
        self._selector.close()
