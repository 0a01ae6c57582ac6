"""How long a phase will take under a policy, and what it asks of each key: the run under a virtual clock. Pure.

Two ways to play it. Up to `CALLS_ONE_BY_ONE` calls every call is played: real policy, real engine rules, real windows
(`virtual_run.py`). Beyond that a trial is the smallest thing and calls are a flow (`flow.py`): the same policies, a
compact model of the rules; tests hold the two together on sizes between. What neither knows is trouble: refusals by
strangers' traffic, faults, other runs on the same keys. docs/forecast.md has the reasons and what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from benchrunner.planning.lineup import in_words
from benchrunner.planning.trial_shapes import TrialShape
from benchrunner.policies.base import Policy
from benchrunner.records import KeyEntry, Limit, LimitKind, ModelEntry, Provider, Shard

CALLS_ONE_BY_ONE = 5000
"""Up to so many calls each is played; a plan of several phases shares them out (cli/planning.py)."""

WORKER_START_S = 0.12
"""From a grant to a worker's first request: fork, connection, first row committed. Measured 0.08-0.2 s on two cores."""

CALL_OVERHEAD_S = 0.006
"""What a call takes beyond the provider's time: row committed, threads woken, loopback. Measured 5-7 ms, two cores."""

BINDING_USE = 0.8
"""A window that was used to this share while it was in use is what holds a run back; short of that, latency does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A phase ready to be played: everything as it is at the speed of the run."""

    shards: tuple[Shard, ...]
    shapes: Mapping[str, TrialShape]  # by trial id
    models: Mapping[str, ModelEntry]
    keys: tuple[KeyEntry, ...]  # of the shards' providers
    providers: Mapping[str, Provider]
    policy: Policy
    one_turn: bool  # every dialogue is one request and its reply


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyForecast:
    """What one key will be asked. `requests_per_s` is by bucket, from the first request on."""

    key_id: str
    provider: str
    calls: int
    used: float | None  # share of what its limits let through from the run's first request to its last; None: no limit
    requests_per_s: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseForecast:
    """One shard on one key, from its grant to its end; seconds from the run's first request, which a grant precedes."""

    shard_id: str
    model: str
    label: str
    key_id: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A phase under one policy. `played` says by what: every "call", or every "trial"."""

    policy: str
    played: str
    makespan_s: float  # first request to last reply, as `show` tells it
    calls: int
    tokens: int
    refused: int  # by the provider, where nobody counts for all (`native`); "trial" does not tell: 0
    binding: str
    bucket_s: float
    keys: tuple[KeyForecast, ...]
    leases: tuple[LeaseForecast, ...]


class LoadMeter:
    """Calls per key over time, in at most `BUCKETS` buckets that double in width as a run gets longer."""

    BUCKETS = 240

    def __init__(self, key_ids: Sequence[str]) -> None:
        """Start with buckets of half a second."""
        self.bucket_s = 0.5
        self._counts: dict[str, list[float]] = {key_id: [] for key_id in key_ids}

    def add(self, key_id: str, from_s: float, to_s: float, calls: float) -> None:
        """Count `calls` that leave evenly between the two instants, which may be one."""
        while to_s >= self.bucket_s * self.BUCKETS:
            self._widen()
        counts, first, last = self._counts[key_id], int(from_s / self.bucket_s), int(to_s / self.bucket_s)
        if last >= len(counts):
            counts.extend([0.0] * (last + 1 - len(counts)))
        if first == last:
            counts[first] += calls
            return
        per_s = calls / (to_s - from_s)
        counts[first] += per_s * ((first + 1) * self.bucket_s - from_s)
        for place in range(first + 1, last):
            counts[place] += per_s * self.bucket_s
        counts[last] += per_s * (to_s - last * self.bucket_s)

    def requests_per_s(self, key_id: str) -> tuple[float, ...]:
        """Return the rate in each bucket up to the last with a call."""
        return tuple(round(count / self.bucket_s, 3) for count in self._counts[key_id])

    def _widen(self) -> None:
        self.bucket_s *= 2
        for key_id, counts in self._counts.items():
            self._counts[key_id] = [sum(counts[place : place + 2]) for place in range(0, len(counts), 2)]


@dataclass(slots=True)
class Usage:
    """What went through the windows of one domain."""

    calls: float = 0.0
    tokens: float = 0.0
    first_s: float = inf
    last_s: float = 0.0

    def add(self, from_s: float, to_s: float, calls: float, tokens: float) -> None:
        """Count what left between the two instants."""
        self.calls += calls
        self.tokens += tokens
        self.first_s = min(self.first_s, from_s)
        self.last_s = max(self.last_s, to_s)

    def share_of(self, limit: Limit, span_s: float | None = None) -> float:
        """Return the used share of what the limit lets through in `span_s` (None: while the domain was in use)."""
        if not self.calls:
            return 0.0
        span_s = self.last_s - self.first_s if span_s is None else span_s
        room = limit.amount * (span_s / limit.per_s + 1.0)
        return min(1.0, (self.tokens if limit.kind is LimitKind.TOKENS else self.calls) / room)


Usages = Mapping[tuple[str, str], Usage]
"""What was used, by ("key", key_id) and by (account, model)."""


def finish(
    world: World,
    *,
    played: str,
    first_s: float,
    end_s: float,
    refused: int,
    usages: Usages,
    meter: LoadMeter,
    leases: Sequence[LeaseForecast],
) -> Forecast:
    """Return the forecast that follows from what was played. `meter` counts from the first request."""
    makespan_s = end_s - first_s
    keys = []
    for key in world.keys:
        use = usages.get(("key", key.key_id), Usage())
        keys.append(
            KeyForecast(
                key_id=key.key_id,
                provider=key.provider,
                calls=round(use.calls),
                used=max((use.share_of(limit, makespan_s) for limit in key.limits), default=None),
                requests_per_s=meter.requests_per_s(key.key_id),
            )
        )
    shapes = [world.shapes[trial_id] for shard in world.shards for trial_id in shard.trial_ids]
    return Forecast(
        policy=world.policy.name,
        played=played,
        makespan_s=round(makespan_s, 3),
        calls=sum(shape.calls for shape in shapes),
        tokens=round(sum(shape.calls * shape.tokens_per_call for shape in shapes)),
        refused=refused,
        binding=_binding(world, usages, leases, makespan_s),
        bucket_s=meter.bucket_s,
        keys=tuple(keys),
        leases=tuple(leases),
    )


def _binding(world: World, usages: Usages, leases: Sequence[LeaseForecast], makespan_s: float) -> str:
    """Return what holds the run back: the fullest window, unless none was near full; else the slowest model."""
    if not leases:
        return "nothing to do"
    weighed: list[tuple[float, str]] = []
    for (kind, name), use in usages.items():
        limits = next(key.limits for key in world.keys if key.key_id == name) if kind == "key" else ()
        owner = name
        if kind != "key":
            limits, owner = world.models[name].limits, f"({kind}, {name})"
        # A window that was full for a short while only is not what a long run waits for.
        part = (use.last_s - use.first_s) / makespan_s if makespan_s > 0 else 1.0
        weighed += [
            (use.share_of(limit), f"{in_words([limit])} of {owner}")
            for limit in limits
            if use.share_of(limit) >= BINDING_USE and part >= 0.5
        ]
    if weighed:
        share, words = max(weighed)
        return f"{words} ({100 * share:.0f} % used)"
    if not world.policy.managed and leases[-1].start_s > makespan_s / 2:
        return f"launches apart: the last at {leases[-1].start_s:.0f} s"
    busy: dict[str, float] = {}
    for lease in leases:
        busy[lease.model] = busy.get(lease.model, 0.0) + lease.end_s - lease.start_s
    slowest = max(busy, key=lambda model: busy[model])
    return f"latency of {slowest} ({world.models[slowest].workers} workers)"
