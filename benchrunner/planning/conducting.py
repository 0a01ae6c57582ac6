"""What a virtual run asks of the engine's rules: the same questions a real run's supervisor asks, without a process.

The rules themselves are a layer above (engine/state.py); engine/virtual.py puts them behind this seam.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start a worker for this shard on this key."""

    worker_id: str
    shard_id: str
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GoOn:
    """The worker is given trials of this shard from now on, which is of the same model."""

    worker_id: str
    shard_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """Give the worker these trials."""

    worker_id: str
    trial_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TellWhenSent:
    """Say `all_sent`, with this number, once every trial handed to the worker has sent its one request."""

    worker_id: str
    nth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LetGo:
    """The worker has nothing left to send: its key is free, its process ends with its last reply."""

    worker_id: str


Order = Start | GoOn | Hand | TellWhenSent | LetGo


class Conductor(Protocol):
    """Decides what a run does next. Times are of the virtual clock, which starts wherever it likes."""

    @property
    def ended(self) -> bool:
        """Return whether the run is over."""
        ...

    @property
    def asks_again_s(self) -> float | None:
        """Return the next instant that is of interest though nothing happens until then; None: there is none."""
        ...

    def tick(self, now_s: float) -> list[Order]:
        """Time passed."""
        ...

    def call_leaves(self, worker_id: str, wait_s: float, now_s: float) -> None:
        """A call of the worker leaves after waiting `wait_s` for its permit."""
        ...

    def trial_done(self, worker_id: str, trial_id: str, now_s: float) -> list[Order]:
        """The worker finished a trial."""
        ...

    def all_sent(self, worker_id: str, nth: int, now_s: float) -> list[Order]:
        """Every trial the worker holds has sent its one request, which TellWhenSent `nth` asked to know."""
        ...

    def worker_gone(self, worker_id: str, now_s: float) -> list[Order]:
        """The process of a worker that was let go has ended."""
        ...
