"""How long a shard is expected to take: what policies put shards in order by. Pure."""

from __future__ import annotations

from benchrunner.records import Shard

SATURATED_SHARE = 0.5
"""At the end of a run, when keys come free to join a shard, a worker that sends this share of its key's rate keeps to
its fair share of the trials left: what it took beyond that would keep its key busier, and the next key without work.
Played over phase 5.2's shape, four sizes and four kinds of limit: 0.5 and less are never slower than 0.8, and up to 5 %
faster.
"""

SHARE_HOLD_S = 0.5
"""How long a worker keeps to its fair share before its own waits may say that the key has room for more."""


def expected_shard_s(
    shard: Shard, trials: int, *, total: int, limit_per_s: float, call_s: float, keys: int = 1
) -> float:
    """Return the seconds that `trials` of the shard's `total` trials take on `keys` keys of `limit_per_s` requests/s.

    `call_s`: expected time of one call. Where the limit decides, the last replies are still to come when the last
    request has left, and the key serves nobody else meanwhile: of two shards with equally many calls the one with the
    slower model is the longer. No trial takes less than its calls one after the other.
    """
    if not trials:
        return 0.0
    calls_per_trial = shard.expected_calls / max(1, total)
    call_s = max(call_s, 1e-3)
    calls = trials * calls_per_trial
    by_latency_per_s = min(shard.workers, trials) / call_s
    if limit_per_s < by_latency_per_s:
        whole_s = calls / (limit_per_s * keys) + call_s
    else:
        whole_s = calls / (by_latency_per_s * keys)
    return max(whole_s, calls_per_trial * call_s)
