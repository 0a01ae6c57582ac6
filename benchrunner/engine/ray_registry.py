"""The cluster's registry as a named, detached actor, and the calls that jobs and workers make on it.

    driver of job A ── leases ──┐
    driver of job B ── leases ──┼──> actor "registry", namespace "benchrunner": one ClusterRegistry, one thread
    workers ────────── blocks ──┘         │
                                          └─ live() of every worker that was leased a key: never returns;
                                             fails when the worker's process or node is gone -> its leases are free

Detached: it outlives the job that started it, so that the next one finds what was sent within the window. Who is dead
is told by Ray, which watches processes and nodes, not by a timer: a slow worker loses nothing.
"""

from __future__ import annotations

import secrets as random_secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayError

from benchrunner import __version__
from benchrunner.clock import SystemClock
from benchrunner.errors import EngineError, RegistryError
from benchrunner.limits.blocks import Ask, Block
from benchrunner.records import Domain, DomainUse, Lease
from benchrunner.registry.cluster import ClusterRegistry, KeyClaim
from benchrunner.registry.key_locks import HeldBy

T = TypeVar("T")

NAMESPACE, NAME = "benchrunner", "registry"
RESTARTS = 20
"""How often Ray may start the registry anew, each time on a node that lives. One that dies more often is killed by
somebody; the jobs then end with what they have."""

ANSWER_S = 10.0
LOOK_AGAIN_S = 1.0


class RegistryActor:
    """What runs in the actor's process. Ray calls one method at a time; `live` answers come on a thread of Ray's."""

    def __init__(self) -> None:
        reborn = ray.get_runtime_context().was_current_actor_reconstructed
        self._registry = ClusterRegistry(SystemClock(), name=random_secrets.token_hex(8), reborn=reborn)
        self._watched: set[str] = set()

    def hello(self) -> tuple[str, str]:
        """Return which registry this is, and of which version of the program."""
        return self._registry.name, self._registry.version

    def register(self, domains: Sequence[Domain]) -> None:
        """Hold windows for every domain."""
        self._registry.register(domains)

    def exchange(self, ask: Ask) -> tuple[str, Block]:
        """Answer a worker."""
        return self._registry.name, self._registry.exchange(ask)

    def lease(self, claim: KeyClaim, worker: list[Any]) -> Lease | HeldBy:
        """Lease a key to a worker, whose handle is the list's only item (Ray would resolve a bare one)."""
        answer = self._registry.lease(claim)
        self._watch(claim.worker, worker)  # after: a worker that is dead already must not be mourned before it holds it
        return answer

    def restore(self, claim: KeyClaim, fence: int, worker: list[Any]) -> bool:
        """Take back a lease of an earlier registry."""
        restored = self._registry.restore(claim, fence)
        self._watch(claim.worker, worker)
        return restored

    def release(self, key: str, fence: int) -> bool:
        """Free a lease."""
        return self._registry.release(key, fence)

    def holds_run(self, run_id: str) -> bool:
        """Return whether a worker of this run holds a lease."""
        return self._registry.holds_run(run_id)

    def look(self, names: Sequence[str]) -> tuple[str, tuple[DomainUse, ...]]:
        """Return which registry this is, and how the named domains stand."""
        return self._registry.name, self._registry.snapshot(names)

    def _watch(self, token: str, worker: list[Any]) -> None:
        if token and token not in self._watched:
            self._watched.add(token)
            self._look_after(token, worker[0])

    def _look_after(self, token: str, worker: Any) -> None:
        """Wait, on a thread of Ray's, for the worker's end."""

        def ended(answer: Any) -> None:
            fault = answer.exception()
            if isinstance(fault, ray.exceptions.ActorUnavailableError):
                # Its connection broke; whether it lives, Ray will know by and by.
                again = threading.Timer(LOOK_AGAIN_S, self._look_after, (token, worker))
                again.daemon = True
                again.start()
                return
            self._watched.discard(token)  # first: whoever leases to it now has it looked after anew
            self._registry.reap(token)

        worker.live.remote().future().add_done_callback(ended)


class RegistryCalls:
    """The registry from a driver or a worker. Any thread may call; no call waits for more than its answer.

    Raises RegistryError when the registry does not answer.
    """

    def __init__(self, actor: Any, *, answer_s: float = ANSWER_S) -> None:
        self.actor, self._answer_s = actor, answer_s

    def register(self, domains: Sequence[Domain]) -> None:
        """Hold windows for every domain."""
        self._ask(self.actor.register.remote, tuple(domains))

    def exchange(self, ask: Ask) -> tuple[str, Block]:
        """Return which registry answered, and its answer."""
        answer: tuple[str, Block] = self._ask(self.actor.exchange.remote, ask)
        return answer

    def lease(self, claim: KeyClaim, worker: Any) -> Lease | HeldBy:
        """Return a lease on the key, or who holds it."""
        answer: Lease | HeldBy = self._ask(self.actor.lease.remote, claim, [worker])
        return answer

    def restore(self, claim: KeyClaim, fence: int, worker: Any) -> bool:
        """Show a lease to a registry that was started anew."""
        return bool(self._ask(self.actor.restore.remote, claim, fence, [worker]))

    def release(self, key: str, fence: int) -> bool:
        """Free a lease."""
        return bool(self._ask(self.actor.release.remote, key, fence))

    def holds_run(self, run_id: str) -> bool:
        """Return whether a worker of this run holds a lease."""
        return bool(self._ask(self.actor.holds_run.remote, run_id))

    def look(self, names: Sequence[str]) -> tuple[str, tuple[DomainUse, ...]]:
        """Return which registry this is, and how the named domains stand."""
        answer: tuple[str, tuple[DomainUse, ...]] = self._ask(self.actor.look.remote, tuple(names))
        return answer

    def hello(self) -> tuple[str, str]:
        """Return which registry this is, and of which version of the program."""
        answer: tuple[str, str] = self._ask(self.actor.hello.remote)
        return answer

    def _ask(self, call: Callable[..., Any], *arguments: object) -> Any:
        try:
            return ray.get(call(*arguments), timeout=self._answer_s)
        except RegistryError:
            raise  # the registry's own answer, which Ray hands on as what it was
        except GetTimeoutError as fault:
            raise RegistryError(f"the cluster's registry has not answered for {self._answer_s:.0f} s") from fault
        except RayError as fault:
            raise RegistryError(f"the cluster's registry does not answer ({type(fault).__name__})") from fault


def open_registry(*, private: bool = False, start_s: float = 60.0) -> RegistryCalls:
    """Return the cluster's registry, started if there is none. Raises EngineError where it cannot be used.

    `private`: one for this job alone, which ends with it: for keys that nobody else can have.
    """
    kind: Any = ray.remote(RegistryActor)
    shared = {"name": NAME, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    actor = kind.options(
        **({} if private else shared),
        num_cpus=0,
        max_restarts=RESTARTS,
        max_task_retries=0,  # an exchange made twice would reserve twice
    ).remote()
    try:
        _, version = RegistryCalls(actor, answer_s=start_s).hello()
    except RegistryError as fault:
        raise EngineError(f"no registry can be started on the cluster: {fault}") from fault
    if version != __version__:
        raise EngineError(
            f"the cluster's registry is of benchrunner {version}, this is {__version__}; once its jobs have ended: "
            f'ray.kill(ray.get_actor("{NAME}", namespace="{NAMESPACE}"))'
        )
    return RegistryCalls(actor)
