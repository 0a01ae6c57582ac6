"""How long to wait before a failed attempt is tried again."""

from __future__ import annotations

from random import Random


def backoff_s(
    attempt: int, rng: Random, base_s: float = 0.5, factor: float = 2.0, ceiling_s: float = 30.0
) -> float:
    """Return seconds to wait after failed attempt number `attempt` (1 is the first): uniform in 0 .. its bound.

    The bound is `base_s * factor ** (attempt - 1)`, at most `ceiling_s`. This is "full jitter" as described by Marc
    Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): of the variants compared there it finishes
    a crowd of competing clients with the fewest calls, because it spreads them over the whole interval instead of
    leaving them in step. It is for transient failures only; a throttle has a pause of its own.
    """
    if attempt < 1:
        raise ValueError(f"attempts are counted from 1, not {attempt}")
    if base_s <= 0:
        return 0.0
    # Step by step: a power would overflow for a large attempt, long after the ceiling is reached.
    bound_s = base_s
    for _ in range(attempt - 1):
        if bound_s >= ceiling_s or factor <= 1:
            break
        bound_s *= factor
    return rng.uniform(0.0, min(bound_s, ceiling_s))
