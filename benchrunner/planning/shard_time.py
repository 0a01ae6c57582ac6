"""How long a shard is expected to take: what policies put shards in order by. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from statistics import fmean

from benchrunner.records import Shard

SATURATED_SHARE = 0.5
"""At the end of a run, when keys come free to join a shard, a worker that sends this share of its key's rate keeps to
its fair share of the trials left: what it took beyond that would keep its key busier, and the next key without work.
Played over phase 5.2's shape, four sizes and four kinds of limit: 0.5 and less are never slower than 0.8, and up to 5 %
faster.
"""

SLOWEST = 1.6
"""How many times the usual the slowest of ten calls takes: log-normal latencies, sigma 0.3."""

SHARE_HOLD_S = 0.5
"""How long a worker keeps to its fair share before its own waits may say that the key has room for more."""


def expected_shard_s(
    shard: Shard, trials: int, *, total: int, limit_per_s: float, call_s: float, last_reply_s: float, keys: int = 1
) -> float:
    """Return the seconds that `trials` of the shard's `total` trials take on `keys` keys of `limit_per_s` requests/s.

    `call_s`: expected time of one call. `last_reply_s`: how long the key waits for the last replies when the last
    request has left (in one-turn suites the run does, the key may serve others): of two shards with equally many calls
    the one with the slower model is the longer. No trial takes less than its calls one after the other.
    """
    if not trials:
        return 0.0
    calls_per_trial = shard.expected_calls / max(1, total)
    call_s = max(call_s, 1e-3)
    calls = trials * calls_per_trial
    by_limit_s = calls / (limit_per_s * keys) + last_reply_s if limit_per_s < inf else 0.0
    by_latency_s = calls * call_s / (min(shard.workers, trials) * keys)
    return max(by_limit_s, by_latency_s, calls_per_trial * call_s)


def most_in_hand(burst: float, rate_per_s: float, call_s: float) -> float:
    """Return how many calls a key can make use of at a time at the end of a run; inf where it has no request limit.

    What one window lets go at once (`burst`), or what is out between the first and the last reply to such a burst: any
    more would only wait in the hands of a worker, and another key may be free for it sooner.
    """
    return max(burst, SLOWEST * call_s * rate_per_s)


def last_reply_s(model: str, measured: Mapping[str, float]) -> float:
    """Return how long a model's last replies are waited for; `measured`: seconds per call, by model.

    Of a model that nobody has measured nothing is known but that it may be like the others: the mean of those. The
    config's `expected_call_s` would be a poor guess here, where tenths of a second decide: it comes from other days.
    """
    if not measured:
        return 0.0
    return measured[model] if model in measured else fmean(measured.values())
