"""What a supervisor needs of an engine: workers, a desk that leases keys to them, and how the keys stand.

`local.py` and `leases.py` are one machine's; `ray_pool.py` and `ray_desk.py` are a cluster's. The same contract suite
runs over both (tests/contract/test_engines_contract.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from benchrunner.engine import messages as ms
from benchrunner.engine.leases import Holder
from benchrunner.records import DomainUse, Lease
from benchrunner.registry.key_locks import HeldBy


class CrewWorker(Protocol):
    """A worker under one lease, seen from the supervisor's thread, which alone may call."""

    @property
    def pipe(self) -> Any:
        """Return what is ready, for a WaitList, while there is something to `receive`."""
        ...

    @property
    def sentinel(self) -> Any:
        """Return what is ready, for a WaitList, once the worker has ended."""
        ...

    @property
    def pid(self) -> int:
        """Return its process id on its machine; 0 while it is not known."""
        ...

    @property
    def token(self) -> str:
        """Return what names its process in a cluster; "" on one machine."""
        ...

    @property
    def blameless(self) -> bool:
        """Return whether what ended it was no doing of its own: its whole node went, with others on it."""
        ...

    def started_s(self) -> float:
        """Return when its process began, as psutil tells it; 0.0 where the token names it."""
        ...

    def send(self, messages: Sequence[ms.Message]) -> bool:
        """Say something to it; False when it is gone (its sentinel will say so)."""
        ...

    def receive(self) -> list[ms.Message]:
        """Return what it said and was not read yet, without blocking."""
        ...

    def kill(self) -> None:
        """End it at once, whatever it does."""
        ...

    def exit_code(self) -> int | None:
        """Return how it ended, None while it runs."""
        ...

    def close(self) -> None:
        """Make sure that it has ended and that nothing of it will be heard any more."""
        ...


class CrewPool(Protocol):
    """Starts workers."""

    def prepare(self, expected: int) -> None:
        """Start spare workers, no more than `expected` are still to be needed."""
        ...

    def take(self, provider: str) -> CrewWorker:
        """Return a worker that waits for its Begin, where that provider can be reached from."""
        ...

    def put_back(self, worker: CrewWorker) -> None:
        """Take back a worker that was not sent anything."""
        ...

    def close(self) -> None:
        """End the spares; workers handed out are their holder's to end."""
        ...


class Desk(Protocol):
    """Leases keys to one run's workers. `engine/leases.py` says what each call means."""

    @property
    def sentinel(self) -> Any:
        """Return what is ready, for a WaitList, when the registry behind it was lost."""
        ...

    @property
    def obituary(self) -> str:
        """Return what there is to say then."""
        ...

    def lease(self, key_id: str, holder: Holder) -> Lease | HeldBy:
        """Return the lease, or who has the key. Raises RegistryError when the registry is gone (see `revive`)."""
        ...

    def move(self, holder_name: str, shard_id: str) -> Lease | None:
        """Have the holder's lease be for another shard of its model; None: its process is dead and holds none."""
        ...

    def release(self, holder_name: str) -> Lease | None:
        """Free the holder's lease and return it; None: it holds none."""
        ...

    def retire(self, key_id: str, reason: str) -> None:
        """Lease the key no more in this run."""
        ...

    def park(self, key_id: str, until_mono_s: float, reason: str) -> None:
        """Lease the key no more before that instant."""
        ...

    def revive(self) -> list[tuple[Lease, Lease]]:
        """Have every live holder's lease in a new registry; return the leases that changed, old and new."""
        ...

    def close(self) -> None:
        """Free what is held."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """An engine at work for one run. Whoever opened it closes its parts."""

    pool: CrewPool
    desk: Desk
    key_domains: Callable[[], Sequence[DomainUse]]  # how the keys' domains stand; must not wait
    windows_path: str  # of this machine's windows, or ""
