"""The least time a phase can take under a policy, at expected calls and call times. Pure.

For a shard alone on its static key, with c calls of l seconds in n trials and i = min(workers, n) dialogues in flight:

    alone   = max( (time the windows of key and model need for c) + l,  c x l / i,  (c / n) x l,  c / pace )

where pace counts under `native` only. How long windows need: `windows.py`. The lower bound is the largest of

    native   serial: sum of alone; grouped: sum over models of the slowest group; concurrent: max(launch + alone)
    serial   sum of alone
    batched  sum over batches of the slowest of the batch
    pool     per provider: the windows of all its keys side by side for all its calls, + shortest l; and where every
             key has bounded slots: sum over shards of max(c / key rate, c x l / i), over all slots, less one window.
             Of one-turn trials c x l / i does not count: their replies are waited for without the key
    all      the windows of each static key (not pool) and of each (account, model) pair for their calls, + shortest l;
             the longest trial
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchrunner.planning.lineup import Lineup, in_words
from benchrunner.planning.windows import rate_per_s, seconds_for
from benchrunner.records import Limit, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A time that the phase cannot beat, and what is in the way."""

    seconds: float
    by: str


def lower_bound(lineup: Lineup) -> Bound:
    """Return the largest of all bounds; 0 s where there is nothing to do."""
    if not lineup.shards:
        return Bound(seconds=0.0, by="nothing to do")
    bounds = [_longest_trial(lineup), *_model_windows(lineup)]
    if lineup.pooled:
        bounds += [bound for provider in lineup.providers for bound in _pool_bounds(lineup, provider)]
    else:
        bounds += [*_key_windows(lineup), _sequence(lineup)]
    return max(bounds, key=lambda bound: bound.seconds)


def alone_s(lineup: Lineup, shard: Shard) -> float:
    """Return the least time the shard takes when nothing runs beside it on its static key."""
    limits = (*lineup.key[shard.key_id].limits, *lineup.model[shard.model].limits)
    call_s, calls = shard.expected_call_s, shard.expected_calls
    return max(
        seconds_for(calls, [limits], lineup.tokens_per_call) + call_s,
        _by_latency_s(shard),
        calls / len(shard.trial_ids) * call_s,
        calls / shard.pace_qps if lineup.paced else 0.0,
    )


def _by_latency_s(shard: Shard) -> float:
    return shard.expected_calls * shard.expected_call_s / min(shard.workers, len(shard.trial_ids))


def _longest_trial(lineup: Lineup) -> Bound:
    seconds, model = max(
        (shard.expected_calls / len(shard.trial_ids) * shard.expected_call_s, shard.model) for shard in lineup.shards
    )
    return Bound(seconds=seconds, by=f"one trial of {model}")


def _model_windows(lineup: Lineup) -> list[Bound]:
    bounds = []
    for name in dict.fromkeys(shard.model for shard in lineup.shards):
        model, mine = lineup.model[name], lineup.of_model(name)
        accounts = {
            key.account
            for key in lineup.keys
            if (key.provider == model.provider if lineup.pooled else key.key_id == model.key_id)
        }
        by = f"{in_words(model.limits)} of ({' and '.join(sorted(accounts))}, {name})"
        bounds.append(Bound(seconds=_through(lineup, mine, [model.limits for _ in accounts]), by=by))
    return bounds


def _key_windows(lineup: Lineup) -> list[Bound]:
    return [
        Bound(seconds=_through(lineup, mine, [key.limits]), by=f"{in_words(key.limits)} of {key.key_id}")
        for key in lineup.keys
        if (mine := lineup.of_key(key))
    ]


def _through(lineup: Lineup, shards: Sequence[Shard], lanes: Sequence[Sequence[Limit]]) -> float:
    """Return when the last answer is there if nothing but the windows of the lanes holds the shards back."""
    calls = sum(shard.expected_calls for shard in shards)
    return seconds_for(calls, lanes, lineup.tokens_per_call) + min(shard.expected_call_s for shard in shards)


def _sequence(lineup: Lineup) -> Bound:
    if lineup.launched_apart:
        launches = [rank * lineup.phase.stagger_s for rank in range(len(lineup.shards))]
        ends = [launch + alone_s(lineup, shard) for launch, shard in zip(launches, lineup.shards, strict=True)]
        last = max(range(len(ends)), key=ends.__getitem__)
        name = lineup.shards[last].model
        return Bound(seconds=ends[last], by=f"{name}, launched at {launches[last]:g} s as number {last + 1}")
    seconds = sum(max(alone_s(lineup, shard) for shard in wave) for wave in lineup.waves)
    if len(lineup.waves) == 1:
        return Bound(seconds=seconds, by="the slowest shard")
    return Bound(seconds=seconds, by=f"{len(lineup.waves)} rounds, one after the other")


def _pool_bounds(lineup: Lineup, provider: str) -> list[Bound]:
    mine = [shard for shard in lineup.shards if shard.provider == provider]
    keys = [key for key in lineup.keys if key.provider == provider]
    names = ", ".join(key.key_id for key in keys)
    each = " or ".join(dict.fromkeys(in_words(key.limits) for key in keys))
    bounds = [Bound(seconds=_through(lineup, mine, [key.limits for key in keys]), by=f"{each}, on {names} together")]
    if all(key.slots for key in keys):
        fastest = max(rate_per_s(key.limits, lineup.tokens_per_call) for key in keys)
        held_s = sum(
            max(one.expected_calls / fastest, 0.0 if lineup.one_turn else _by_latency_s(one)) for one in mine
        )
        # A window that starts empty gives its first round away; no key gets that twice.
        credit_s = max((one.per_s for key in keys for one in key.limits), default=0.0)
        by = f"the slots of {names}: one model at a time in each"
        bounds.append(Bound(seconds=held_s / sum(key.slots for key in keys) - credit_s, by=by))
    return bounds
