"""A worker as a Ray actor: the same threads as a local worker's, one lease after the other, packets instead of a pipe.

    driver ── deliver(session, n, packet) ──> mailbox ──> Worker.serve, dialogue threads
           <── collect(session): packets ──── outbox <──┘        (a call that waits until there is something)
    registry ── live() ──> never returns

A session is one lease's worth of work: from Begin to the end of its last dialogue. An actor that ended one cleanly
serves the next, which saves a second of imports each time. One that did not is killed by the driver.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ray

from benchrunner.clock import Clock
from benchrunner.engine import messages as ms
from benchrunner.engine.block_gate import BlockGate
from benchrunner.engine.gates import PaceGate
from benchrunner.engine.ray_registry import RegistryCalls
from benchrunner.engine.worker import OpenGate, serve_lease
from benchrunner.limits.blocks import ClockFit

METHOD_THREADS = 6
"""Ray's threads in a worker: `collect` and `live` each keep one, deliveries come and go. Dialogues have their own."""

QUIET_S = 20.0
"""How long `collect` waits before it answers that there is nothing: a driver's call must not outlive its patience."""


class Mailbox:
    """Packets both ways between the calls of a driver and one Worker; what the Worker takes for a pipe."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._lock = threading.Condition()  # keeps deliveries in order, and what is said in one piece
        self._early: dict[int, bytes] = {}  # Ray may call out of order
        self._next = 0
        self._inbox: deque[bytes] = deque()
        self._outbox: list[bytes] = []
        self._code: int | None = None

    def deliver(self, number: int, packet: bytes) -> None:
        """Take the driver's packet of that number; they are read in the order of their numbers."""
        with self._lock:
            self._early[number] = packet
            while (following := self._early.pop(self._next, None)) is not None:
                self._inbox.append(following)
                self._next += 1
            self._lock.notify_all()

    def recv_bytes(self) -> bytes:
        """Return the next packet, when there is one. Raises EOFError once the session has ended."""
        with self._lock:
            while not self._inbox and self._code is None:
                self._lock.wait()
            if self._code is not None:
                raise EOFError
            return self._inbox.popleft()

    def send_bytes(self, packet: bytes) -> None:
        """Have the driver collect one packet."""
        with self._lock:
            self._outbox.append(packet)
            self._lock.notify_all()

    def end(self, code: int) -> None:
        """Note how the session ended; the first word counts."""
        with self._lock:
            if self._code is None:
                self._code = code
            self._lock.notify_all()

    def collect(self, timeout_s: float) -> tuple[list[bytes], int | None]:
        """Return what was said since the last time, once there is something, and how the session ended, if it did."""
        with self._lock:
            if not self._outbox and self._code is None:
                self._lock.wait(timeout_s)
            said, self._outbox = self._outbox, []
            return said, self._code


class WorkerActor:
    """What runs in a worker's process. Ray calls its methods from a few threads at once."""

    def __init__(self, registry: list[Any], tasks: tuple[str, bytes] | None) -> None:
        """`registry` holds the actor's handle; `tasks` is the run's task file, which stands on the driver's machine."""
        self._registry = RegistryCalls(registry[0])
        self._tasks = tasks
        self._lock = threading.Lock()  # keeps one mailbox a session, whichever call comes first
        self._sessions: dict[int, Mailbox] = {}
        self._ended = 0  # sessions up to this number are over; what still comes for them comes too late
        self._never = threading.Event()
        self._fits: dict[str, ClockFit] = {}  # registry -> what this process knows of its clock

    def ready(self) -> tuple[int, str]:
        """Return this process's id and its node's."""
        return os.getpid(), ray.get_runtime_context().get_node_id()

    def live(self) -> None:
        """Return never: the call fails when this process is gone."""
        self._never.wait()

    def deliver(self, session: int, number: int, packet: bytes) -> None:
        """Take one packet of a session; the first holds Begin."""
        mailbox = self._mailbox(session)
        if mailbox is not None:
            mailbox.deliver(number, packet)

    def collect(self, session: int) -> tuple[list[bytes], int | None]:
        """Return what the session's worker said since the last call; waits a while for something."""
        mailbox = self._mailbox(session)
        if mailbox is None:
            raise ms.ProtocolError(f"session {session} is over; a session's end is told once")
        said, code = mailbox.collect(QUIET_S)
        if code is not None:
            with self._lock:
                self._ended = max(self._ended, session)
                del self._sessions[session]
        return said, code

    def _mailbox(self, session: int) -> Mailbox | None:
        with self._lock:
            if session <= self._ended:
                return None
            mailbox = self._sessions.get(session)
            if mailbox is None:
                mailbox = self._sessions[session] = Mailbox()
                threading.Thread(target=self._serve, args=(mailbox,), name=f"session-{session}", daemon=True).start()
            return mailbox

    def _serve(self, mailbox: Mailbox) -> None:
        with ExitStack() as stack:

            def leave(code: int) -> None:
                stack.close()  # before the driver hears of the end, and may end this process
                mailbox.end(code)

            tasks_file = stack.enter_context(_unpacked(self._tasks)) if self._tasks is not None else ""
            serve_lease(mailbox, open_gate=self._open_gate, leave=leave, tasks_file=tasks_file)

    def _open_gate(self, begin: ms.Begin, clock: Clock) -> OpenGate:
        if not begin.domains:
            return PaceGate(begin.pace_qps, clock), _close_nothing
        gate = BlockGate(
            self._registry,
            begin.domains,
            clock,
            key=begin.key.fingerprint,
            fence=begin.lease.fence,
            fits=self._fits,
        )
        return gate, gate.close


def _close_nothing() -> None:
    """Close a gate that holds nothing."""


@contextlib.contextmanager
def _unpacked(tasks: tuple[str, bytes]) -> Iterator[str]:
    """Give the path of the task file while the block runs."""
    name, content = tasks
    with tempfile.TemporaryDirectory(prefix="benchrunner-tasks-") as directory:
        path = Path(directory) / name
        path.write_bytes(content)
        yield str(path)
