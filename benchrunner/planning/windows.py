"""How much fits through limits in how much time: the arithmetic under `load.py`. Pure.

A sliding window of `amount` per `per_s` that starts empty lets `amount` through at once and as many again every
`per_s`. So in t seconds at most amount x (floor(t / per_s) + 1) get through, and N need (ceil(N / amount) - 1) x per_s.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, inf

from benchrunner.records import Limit, LimitKind

_ROUNDING = 1e-9


def calls_per_window(limit: Limit, tokens_per_call: float) -> float:
    """Return how many calls fit into one window of the limit."""
    return limit.amount / tokens_per_call if limit.kind is LimitKind.TOKENS else float(limit.amount)


def rate_per_s(limits: Sequence[Limit], tokens_per_call: float) -> float:
    """Return the calls per second that all limits allow for good; inf where there is none."""
    return min((calls_per_window(limit, tokens_per_call) / limit.per_s for limit in limits), default=inf)


def capacity(limits: Sequence[Limit], within_s: float, tokens_per_call: float) -> float:
    """Return the calls that all limits let through in `within_s` seconds, beginning with empty windows."""
    return min(
        (calls_per_window(one, tokens_per_call) * (floor(within_s / one.per_s + _ROUNDING) + 1) for one in limits),
        default=inf,
    )


def seconds_for(calls: float, lanes: Sequence[Sequence[Limit]], tokens_per_call: float) -> float:
    """Return the least time in which `calls` leave through the lanes side by side, each under all limits of its own.

    inf without a lane; 0.0 when everything may leave at once.
    """

    def fits(within_s: float) -> bool:
        return sum(capacity(lane, within_s, tokens_per_call) for lane in lanes) >= calls - _ROUNDING

    if not lanes:
        return inf
    if fits(0.0):
        return 0.0
    # Something new gets through only when a window starts over, so only those instants need be asked. Doubling finds
    # a time that is enough; halving over each period's multiples finds the first.
    enough = max(limit.per_s for lane in lanes for limit in lane)
    while not fits(enough):
        enough *= 2
    best = enough
    for period in sorted({limit.per_s for lane in lanes for limit in lane}):
        low, high = 0, ceil(best / period)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(middle * period) else (middle, high)
        best = min(best, high * period)
    return best
