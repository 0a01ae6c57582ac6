"""What a phase asks of each key under a policy: the static part of `benchrunner plan`. Pure.

Tokens are estimated at `tokens_per_call` (prompt and reply; about 3,000 were measured). The formulas of the least
time are in `bounds.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from benchrunner.planning.bounds import lower_bound
from benchrunner.planning.lineup import Lineup, in_words
from benchrunner.planning.sharding import PhasePlan
from benchrunner.planning.windows import capacity, rate_per_s
from benchrunner.records import KeyEntry, LimitKind, ModelEntry, Shard

TOKENS_PER_CALL = 3000.0
BURST_SHARE = 0.8
"""Shards that pace themselves apart from each other drift into step now and then; from this share of a limit on,
such a burst is likely to exceed it."""

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLoad:
    """What one key is asked."""

    key_id: str
    provider: str
    shards: int  # that run on it; under `pool`, that may
    at_once: int  # of these
    asked_per_s: float  # requests per second while they do
    limit_per_s: float | None  # of the key's own limits; None: it has none
    binding: str  # what holds its shards back most of the time
    busy: float | None  # share of what the key lets through within the lower bound; None: no limit


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticLoad:
    """A phase under one policy, before the first call."""

    policy: str
    processes: int  # workers at once
    keys: tuple[KeyLoad, ...]
    warnings: tuple[str, ...]
    calls: float
    tokens: float
    lower_bound_s: float
    bound_by: str


def static_load(
    plan: PhasePlan,
    models: Sequence[ModelEntry],
    keys: Sequence[KeyEntry],
    *,
    policy: str,
    batch_size: int = 3,
    tokens_per_call: float = TOKENS_PER_CALL,
) -> StaticLoad:
    """Return the load per key and the lower bound of the makespan under the policy called `policy`.

    `models` and `keys` hold at least those of the plan. `batch_size` matters to `batched` alone.
    """
    lineup = Lineup(plan, models, keys, policy=policy, batch_size=batch_size, tokens_per_call=tokens_per_call)
    bound = lower_bound(lineup)
    loads = tuple(_key_load(lineup, key, bound.seconds) for key in lineup.keys)
    calls = sum(shard.expected_calls for shard in lineup.shards)
    return StaticLoad(
        policy=policy,
        processes=sum(load.at_once for load in loads) if lineup.pooled else max(map(len, lineup.waves), default=0),
        keys=loads,
        warnings=(
            *_key_burst_warnings(lineup, loads),
            *_model_burst_warnings(lineup),
            *(f"{load.key_id} is idle: no model has it as its static key" for load in loads if load.shards == 0),
            *_size_warnings(lineup),
        ),
        calls=calls,
        tokens=calls * tokens_per_call,
        lower_bound_s=bound.seconds,
        bound_by=bound.by,
    )


def _key_load(lineup: Lineup, key: KeyEntry, within_s: float) -> KeyLoad:
    mine = lineup.of_key(key)
    own = rate_per_s(key.limits, lineup.tokens_per_call)
    if lineup.pooled:
        # Idle keys join, so a bounded key may hold as many leases as it has slots until the last trial.
        at_once = min(key.slots or len(mine), len(mine))
        fastest = sorted(mine, key=lambda shard: lineup.asked_per_s(shard, key), reverse=True)
        asked = _together(lineup, key, fastest[:at_once])
    else:
        waves = [[shard for shard in wave if shard.key_id == key.key_id] for wave in lineup.waves]
        at_once = max(map(len, waves), default=0)
        asked = max((_together(lineup, key, wave) for wave in waves), default=0.0)
    return KeyLoad(
        key_id=key.key_id,
        provider=key.provider,
        shards=len(mine),
        at_once=at_once,
        asked_per_s=asked if lineup.paced else min(asked, own),
        limit_per_s=None if own == inf else own,
        binding=_binding(lineup, key, mine, asked, own),
        busy=_busy(lineup, key, mine, within_s),
    )


def _together(lineup: Lineup, key: KeyEntry, shards: Sequence[Shard]) -> float:
    """Return what the shards ask side by side; counted windows hold those of one model to the model's limits."""
    by_model: dict[str, float] = {}
    for shard in shards:
        by_model[shard.model] = by_model.get(shard.model, 0.0) + lineup.asked_per_s(shard, key)
    if lineup.paced:
        return sum(by_model.values())
    return sum(
        min(asked, rate_per_s(lineup.model[name].limits, lineup.tokens_per_call)) for name, asked in by_model.items()
    )


def _binding(lineup: Lineup, key: KeyEntry, mine: Sequence[Shard], asked: float, own: float) -> str:
    if not mine:
        return "none: no shard"
    if lineup.paced and asked > own + _ROUNDING:
        return f"{in_words(key.limits)} of {key.key_id}"
    seconds: dict[str, float] = {}
    for shard in mine:
        pace, name = min(lineup.paces(shard, key))
        seconds[name] = seconds.get(name, 0.0) + shard.expected_calls / pace
    return max(seconds, key=lambda name: seconds[name])


def _busy(lineup: Lineup, key: KeyEntry, mine: Sequence[Shard], within_s: float) -> float | None:
    room = capacity(key.limits, within_s, lineup.tokens_per_call)
    calls = sum(shard.expected_calls for shard in mine)
    if lineup.pooled:  # what may run on all keys is shared by what each can take
        room = sum(
            capacity(one.limits, within_s, lineup.tokens_per_call)
            for one in lineup.keys
            if one.provider == key.provider
        )
    return None if room == inf else min(1.0, calls / room)


def _key_burst_warnings(lineup: Lineup, loads: Sequence[KeyLoad]) -> list[str]:
    if not lineup.paced:
        return []
    return [
        f"bursts may exceed {load.key_id}: {load.at_once} shards at {load.asked_per_s:g} requests/s together, of"
        f" {load.limit_per_s:g}, with no shared window under native"
        for load in loads
        if load.limit_per_s is not None and _is_near(load.asked_per_s, load.limit_per_s, load.at_once)
    ]


def _model_burst_warnings(lineup: Lineup) -> list[str]:
    if not lineup.paced:
        return []
    warnings = []
    for name in dict.fromkeys(shard.model for shard in lineup.shards):
        limits = lineup.model[name].limits
        own = rate_per_s(limits, lineup.tokens_per_call)
        beside = [[one for one in wave if one.model == name] for wave in lineup.waves]
        asked, at_once = max(
            (sum(lineup.asked_per_s(one, lineup.key[one.key_id]) for one in wave), len(wave)) for wave in beside
        )
        if own != inf and _is_near(asked, own, at_once):
            owner = f"({lineup.key[lineup.model[name].key_id].account}, {name})"
            warnings.append(
                f"{owner} may be asked more than {in_words(limits)}: {at_once} at once, {asked:g} requests/s of about"
                f" {own:.3g}, with no shared window under native"
            )
    return warnings


def _is_near(asked_per_s: float, limit_per_s: float, at_once: int) -> bool:
    """Return whether shards that do not count together are likely to exceed the limit; one alone keeps its pace."""
    return asked_per_s > limit_per_s + _ROUNDING or (
        at_once > 1 and asked_per_s >= BURST_SHARE * limit_per_s - _ROUNDING
    )


def _size_warnings(lineup: Lineup) -> list[str]:
    owned = {(one, key.key_id) for key in lineup.keys for one in key.limits}
    owned |= {(one, shard.model) for shard in lineup.shards for one in lineup.model[shard.model].limits}
    return sorted(
        f"{in_words([one])} of {owner} is less than one call takes (about {lineup.tokens_per_call:g} tokens)"
        for one, owner in owned
        if one.kind is LimitKind.TOKENS and one.amount < lineup.tokens_per_call
    )
