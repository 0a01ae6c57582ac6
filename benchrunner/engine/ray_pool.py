"""Worker actors as a driver sees them: started ahead, leased out session by session, heard, and mourned.

    supervisor's thread                     pump thread                          Ray
      send ────────────────────────────────────────────────────────────────────> deliver
      receive <── packets, bell ──────────── what a collect answered <─────────── collect (always one under way)
      sentinel <── closed, once a session ended or its actor died <────────────── live (fails when the process is gone)

Ray's callbacks only put what came into the pump's queue: nothing of ours runs, or waits, on Ray's own threads.
"""

from __future__ import annotations

import itertools
import queue
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError

from benchrunner.clock import Clock, SystemClock
from benchrunner.engine import messages as ms
from benchrunner.engine.crew import CrewWorker
from benchrunner.engine.local import SPARES
from benchrunner.engine.ray_worker import METHOD_THREADS, WorkerActor
from benchrunner.errors import EngineError

LOST = -1
"""Exit code of a worker whose process or node is gone."""

LATER_SPARES = 1
"""Actors started ahead of need once the first are at work: those whose session ends serve the next lease, and each
start takes a second or two of a processor, from senders that are to be punctual. A key that is handed on while replies
are out needs another at once; where several are at the same moment, all but one wait for an actor's start."""

WORDS = 6
"""Lines of what Ray says of a death that are passed on."""

LOOK_EVERY_S = 1.0
GIVE_UP_S = 60.0
"""How long an actor may be unreachable before it counts as gone although Ray has not said so."""


@dataclass(slots=True, eq=False)
class Hire:
    """One worker actor, whatever session it serves."""

    actor: Any
    token: str
    provider: str
    pid: int = 0
    node_id: str = ""
    dead: bool = False
    unreachable_since_s: float | None = None
    session: RayWorker | None = field(default=None, repr=False)


class RayWorker:
    """One session of a worker actor: a worker under one lease. The supervisor's thread calls; the pump feeds it."""

    def __init__(self, pool: RayPool, hire: Hire, session: int) -> None:
        """Say nothing yet: the actor's thread of this session starts with the first packet."""
        self.hire, self._pool, self._session = hire, pool, session
        self.pipe, self._bell = socket.socketpair()
        self.sentinel, self._knell = socket.socketpair()
        self.pipe.setblocking(False)
        self._lock = threading.Lock()  # keeps the bell ringing whenever something unread is there
        self._said: list[bytes] = []
        self._numbers = itertools.count()
        self._code: int | None = None
        self._closed = self._spoken = False
        self.blameless = False

    @property
    def pid(self) -> int:
        """Return its process id on its node; 0 while the actor is still starting."""
        return self.hire.pid

    @property
    def token(self) -> str:
        """Return the actor's id."""
        return self.hire.token

    @property
    def unused(self) -> bool:
        """Return whether nothing was ever sent to it."""
        return not self._spoken

    def started_s(self) -> float:
        """Return 0.0: Ray knows which process it is."""
        return 0.0

    def send(self, messages: Sequence[ms.Message]) -> bool:
        """Hand one packet to Ray; False when the session has ended."""
        if self._code is not None:
            return False
        packet = ms.encode(messages)
        self.hire.actor.deliver.remote(self._session, next(self._numbers), packet)
        if not self._spoken:
            self._spoken = True
            self._pool.collect(self, self._session)
        return True

    def receive(self) -> list[ms.Message]:
        """Return what has come."""
        with self._lock:
            packets, self._said = self._said, []
            if packets:
                self.pipe.recv(1)
        return [message for packet in packets for message in ms.decode(packet)]

    def kill(self) -> None:
        """Have Ray kill the actor's process."""
        self.hire.dead = True
        if self._code is None:
            ray.kill(self.hire.actor, no_restart=True)

    def exit_code(self) -> int | None:
        """Return how the session ended, None while it runs."""
        return self._code

    def close(self) -> None:
        """Hear no more of it. An actor that served well waits for the next lease; any other one is killed."""
        if self._closed:
            return
        self._closed = True
        clean = self._code == 0 and not self.hire.dead
        if not clean:
            self.kill()
        with self._lock:
            for end in (self.pipe, self.sentinel, self._bell, self._knell):
                end.close()
        self.hire.session = None
        if not clean:
            ray.kill(self.hire.actor, no_restart=True)

    # --- the pump's side --------------------------------------------------------------------------------------------

    def hear(self, packets: Sequence[bytes]) -> None:
        """Take in what the worker said."""
        with self._lock:
            if packets and not self._closed:
                if not self._said:
                    self._bell.send(b"!")
                self._said += packets

    def end(self, code: int, *, blameless: bool = False) -> None:
        """Note how the session ended; the first word counts."""
        with self._lock:
            if self._code is None:
                self._code, self.blameless = code, blameless
                if not self._closed:
                    self._knell.shutdown(socket.SHUT_RDWR)


class RayPool:
    """Starts worker actors and keeps those that are free: at most as many as were ever at work at once, and spares."""

    def __init__(
        self,
        registry: Any,
        options: Callable[[str], Mapping[str, Any]],
        providers: Sequence[str],
        *,
        tasks: tuple[str, bytes] | None = None,
        spares: int = SPARES,
    ) -> None:
        """`options(provider)`: how Ray is to place a worker that calls this provider."""
        self._kind: Any = ray.remote(WorkerActor)
        self._registry, self._options, self._providers = registry, options, tuple(providers)
        self._tasks, self._wanted_spares = tasks, spares
        self._clock: Clock = SystemClock()
        self._sessions = itertools.count(1)
        self._hires: list[Hire] = []  # the living, as far as is known; the supervisor's thread alone changes it
        self._lost_nodes: set[str] = set()
        self._came: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._pump = threading.Thread(target=self._run_pump, name="ray-pump", daemon=True)
        self._pump.start()

    def prepare(self, expected: int) -> None:
        """Start spare actors, no more than `expected` are still to be needed."""
        for provider in self._providers:
            wanted = min(self._wanted_spares, expected) - len(self._free(provider))
            for _ in range(wanted):
                self._hire(provider)

    def take(self, provider: str) -> RayWorker:
        """Return a session on an actor that can reach the provider: one that is up, if there is one."""
        free = self._free(provider)
        hire = next((one for one in free if one.pid), free[0] if free else None) or self._hire(provider)
        hire.session = RayWorker(self, hire, next(self._sessions))
        self._wanted_spares = min(self._wanted_spares, LATER_SPARES)
        return hire.session

    def put_back(self, worker: CrewWorker) -> None:
        """Take back a worker that was not sent anything."""
        assert isinstance(worker, RayWorker)
        assert worker.unused
        worker.end(0)
        worker.close()

    def handle(self, token: str) -> Any:
        """Return the handle of an actor that was taken, for the registry to watch."""
        for hire in self._hires:
            if hire.token == token:
                return hire.actor
        raise EngineError(f"no worker {token!r} was started here")

    def wait_ready(self, timeout_s: float, rest_s: float) -> bool:
        """Return whether an actor came up within `timeout_s`; the others are waited for `rest_s` at most."""
        began_s = self._clock.now_s()
        while not all(hire.pid for hire in self._hires):
            waited_s = self._clock.now_s() - began_s
            if waited_s > (rest_s if any(hire.pid for hire in self._hires) else timeout_s):
                break
            self._clock.sleep_s(0.02)
        return any(hire.pid for hire in self._hires)

    def close(self) -> None:
        """End every actor and the pump."""
        for hire in self._hires:
            ray.kill(hire.actor, no_restart=True)
        self._hires.clear()
        self._came.put(None)
        self._pump.join()

    def collect(self, worker: RayWorker, session: int) -> None:
        """Have the next words of a session put into its hands, and so on until it ends."""

        def heard(answer: Any) -> None:
            self._came.put(lambda: self._take_in(worker, session, answer))

        worker.hire.actor.collect.remote(session).future().add_done_callback(heard)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _free(self, provider: str) -> list[Hire]:
        self._hires = [hire for hire in self._hires if not hire.dead]
        return [hire for hire in self._hires if hire.session is None and hire.provider == provider]

    def _hire(self, provider: str) -> Hire:
        actor = self._kind.options(
            max_concurrency=METHOD_THREADS, max_restarts=0, max_task_retries=0, **self._options(provider)
        ).remote([self._registry], self._tasks)
        hire = Hire(actor=actor, token=actor._actor_id.hex(), provider=provider)
        self._hires.append(hire)

        def came_up(answer: Any) -> None:
            if answer.exception() is None:
                hire.node_id = answer.result()[1]
                hire.pid = answer.result()[0]

        actor.ready.remote().future().add_done_callback(came_up)
        self._watch(hire)
        return hire

    def _watch(self, hire: Hire) -> None:
        def ended(answer: Any) -> None:
            self._came.put(lambda: self._mourn(hire, answer.exception()))

        hire.actor.live.remote().future().add_done_callback(ended)

    def _run_pump(self) -> None:
        while (act := self._came.get()) is not None:
            act()

    def _take_in(self, worker: RayWorker, session: int, answer: Any) -> None:
        fault = answer.exception()
        if fault is None:
            packets, code = answer.result()
            worker.hear(packets)
            if code is not None:
                worker.end(code)
            else:
                self.collect(worker, session)
        else:
            # What it said is perhaps lost, so it cannot go on; that it is gone, and why, the watch will say.
            worker.hire.dead = True
            ray.kill(worker.hire.actor, no_restart=True)

    def _mourn(self, hire: Hire, fault: BaseException | None) -> None:
        now_s = self._clock.now_s()
        if isinstance(fault, ActorUnavailableError):
            if hire.unreachable_since_s is None:
                hire.unreachable_since_s = now_s
            if now_s - hire.unreachable_since_s < GIVE_UP_S:
                again = threading.Timer(LOOK_EVERY_S, self._watch, (hire,))
                again.daemon = True
                again.start()
                return
        node_lost = not self._is_alive(hire.node_id)
        expected, hire.dead = hire.dead, True
        if hire.session is not None:
            if not expected and not node_lost:
                words = [line for line in str(fault).splitlines() if line.strip()]
                hire.session.hear([ms.encode([ms.WorkerFailed(detail="\n".join(words[-WORDS:]))])])
            # The first of a node counts as a crash, so that nodes that keep dying end the run at last.
            hire.session.end(LOST, blameless=node_lost and hire.node_id in self._lost_nodes)
            if node_lost:
                self._lost_nodes.add(hire.node_id)

    def _is_alive(self, node_id: str) -> bool:
        if not node_id:
            return True  # it never came up: its own fault, as far as anybody knows
        return any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
