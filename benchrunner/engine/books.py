"""What RunState keeps of shards, workers and keys, and the rules it keeps them by. Only RunState changes them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf

from benchrunner.limits.domains import burst_of, requests_per_s
from benchrunner.records import Key, KeyEntry, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The bounds a run is held to; durations in seconds."""

    restarts: int = 6  # worker crashes forgiven ...
    restart_window_s: float = 60.0  # ... in this time; one more ends the run incomplete
    crashes_per_trial: int = 2  # a trial that was running at this many crashes is left invalid
    shard_timeout_s: float = 0.0  # how long one lease may last; 0: ten times the expectation, at least an hour
    stall_s: float = 600.0  # how long a model may get nothing but refusals before it is parked
    wait_s: float = float("inf")  # how long a run that can do nothing else waits for keys other runs hold
    drain_s: float = 20.0  # how long running trials may go on after a stop was asked for
    longest_park_s: float = 900.0  # a run waits for a parked key this long when nothing else is left to do
    kill_after_s: float = 10.0  # how long a worker may take to end once told to at once


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetup:
    """A key as RunState needs it: no secret."""

    key_id: str
    provider: str
    slots: int
    rate_per_s: float  # the tightest of its request windows as a rate; inf: none
    burst: float  # calls that all of them let go at once; inf: there is none


def key_setup(key: Key | KeyEntry) -> KeySetup:
    """Return the key as RunState knows it: without its secret, its request windows as one rate and one burst."""
    return KeySetup(
        key_id=key.key_id,
        provider=key.provider,
        slots=key.slots,
        rate_per_s=requests_per_s(key.limits),
        burst=burst_of(key.limits),
    )


@dataclass(slots=True, kw_only=True)
class ShardState:
    """A shard's queue and standing."""

    shard: Shard
    pending: deque[str]
    workers: list[str] = field(default_factory=list)
    started_s: float | None = None
    status: str = "waiting"  # waiting | running | done | failed
    scored: int = 0
    invalid: int = 0
    running: int = 0
    total: int = 0
    fruitless: int = 0  # leases in a row that ran out of time with no trial ended


SENT = "sent"
"""Why a worker ends that has no more to send, only replies to wait for: its key serves on without it."""


@dataclass(slots=True, kw_only=True)
class WorkerState:
    """A worker and what it holds."""

    worker_id: str
    shard_id: str  # whose trials it is given
    key_id: str
    started_s: float
    deadline_s: float
    running: dict[str, str] = field(default_factory=dict)  # trial -> its shard, which may be one before `shard_id`
    ended: int = 0  # trials it brought to an end under its present lease
    released: bool = False
    stopping: str = ""  # the reason it was told to end
    asked: int = 0  # times it was asked to say when it has sent everything
    sent_out: bool | None = None  # whether it has; None: it was not asked since it was last given trials
    kill_at_s: float | None = None
    wait_s: float = inf  # how long its last call waited for a permit; inf: its first one waits
    sent_s: deque[float] = field(default_factory=deque)  # its calls of the last second

    @property
    def shard_ids(self) -> tuple[str, ...]:
        """Return the shards it is busy with: the one whose trials it is given, and those it went on from."""
        return tuple(dict.fromkeys([self.shard_id, *self.running.values()]))


@dataclass(slots=True, kw_only=True)
class KeyState:
    """A key's standing in this run."""

    setup: KeySetup
    retired: str = ""  # why, or ""
    parked_until_s: float = 0.0
    parks: int = 0  # times it was parked with no reply in between
    denied_until_s: float = 0.0
    denied_by: str = ""  # who had it when it was last asked for

    def usable(self, now_s: float) -> bool:
        """Return whether a shard may be put on it now."""
        return not self.retired and now_s >= self.parked_until_s and now_s >= self.denied_until_s
