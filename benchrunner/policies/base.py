"""What a policy is: a pure choice of which waiting shard gets which key, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from benchrunner.records import Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardView:
    """A shard as a policy sees it."""

    shard_id: str
    position: int
    model: str
    provider: str
    static_key: str
    group: int
    pending: int  # trials nobody has taken
    running: int  # trials a worker holds
    expected_s: float  # expected time to finish on one key, from now
    keys: tuple[str, ...]  # keys leased to it now
    started_s: float | None  # when it first got a key; None: never
    done: bool  # nothing pending, nothing running


def view_of(
    shard: Shard,
    *,
    pending: int,
    running: int,
    expected_s: float,
    keys: tuple[str, ...] = (),
    started_s: float | None = None,
) -> ShardView:
    """Return the shard as a policy sees it at that point of its run."""
    return ShardView(
        shard_id=shard.shard_id,
        position=shard.position,
        model=shard.model,
        provider=shard.provider,
        static_key=shard.key_id,
        group=shard.group,
        pending=pending,
        running=running,
        expected_s=expected_s,
        keys=keys,
        started_s=started_s,
        done=not pending and not running,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """A key as a policy sees it."""

    key_id: str
    provider: str
    slots: int  # models at once; 0: no bound
    models: tuple[str, ...]  # one entry per lease on it now
    spare: tuple[str, ...] = ()  # of these, those whose worker has no trial left to take and could run more
    usable: bool  # not retired, parked or held by another run


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Start a worker for this shard on this key now, or let one that is there go on with it."""

    shard_id: str
    key_id: str
    joining: bool = False  # the shard already runs on another key
    goes_on: bool = False  # to the key's worker that serves the shard's model and has nothing else left to take


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to start now, and when to ask again even if nothing happens (None: only on the next event).

    The supervisor ticks twenty times a second anyway; the virtual clock of a forecast jumps to `ask_again_s`.
    """

    grants: tuple[Grant, ...] = ()
    ask_again_s: float | None = None


class Policy(Protocol):
    """Decides which waiting shard gets which free key, and when. Pure and stateless: all it knows is its arguments."""

    name: str
    managed: bool  # False: shards pace themselves and consult no shared window (`native`)
    joins: bool  # True: idle keys join running shards (`pool`)
    hands_on: bool  # True: a key is free once nothing more will be sent under its lease (`pool`)

    def choose(self, *, now_s: float, shards: tuple[ShardView, ...], keys: tuple[KeyView, ...]) -> Choice:
        """Return the grants to make at `now_s`. Called again after every event; must not grant what does not fit."""
        ...
