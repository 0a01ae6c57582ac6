"""What limits are counted over, and how much room to leave between sends for the world's unevenness."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from benchrunner.records import Domain, Key, Limit, LimitKind, ModelEntry, Provider

DRIFT_FACTOR = 1.5
"""A margin is this many times the observed lateness: a sender as late as the worst one lately still leaves the larger
part of it to the network, which nobody here can see (limits/window.py, WIRE_SHARE)."""

MARGIN_BASE_S = 0.004
"""What a margin holds even if every sender is punctual: about the spread of arrival times on a busy loopback or LAN."""

DRIFT_HALF_LIFE_S = 5.0
"""How fast lateness is forgotten. A cold start (ten processes importing at once) lasts seconds and costs 4-6 % of a
10-per-second key while it is remembered; five half-lives later it is gone."""

DRIFT_STEP_S = 0.002
"""One observation at most doubles the remembered lateness and adds this. A single late wake-up is chance, and the exact
check at the moment of sending already deals with it (those behind follow a few milliseconds later); several in a row
are the machine, and get there geometrically."""

COLD_MARGIN_S = 0.030
"""The margin a domain starts with each time a worker registers it, lateness unseen: processes are starting then, and
the provider's end of the first burst is as cold as ours. With 15 ms, and twice as many busy processes as cores, one
request in 300 was read that much later than the one a window behind it, mostly in the first windows of a lease."""

WIRE_STEP_S = 0.005
"""What the first refusal within our own limits adds; each further one doubles it."""

WIRE_HALF_LIFE_S = 600.0
"""How fast refusals are forgotten: each was a broken promise, so a hundred times slower than lateness."""


SPREAD_SHARE, SPREAD_CEILING_S = 0.05, 0.005
"""A burst that an open window lets through is spread over this share of it, neighbours at most so far apart.

Ten threads of one process that wake at the same instant hold each other up, and the last one's bytes leave late by
what nobody planned; and a window repeats its first burst for ever. Spread once, it costs this share of one window.
"""


def key_domain(provider: Provider, key: Key) -> Domain:
    """Return the domain of one key: the same for every config file that holds this credential for this place."""
    return Domain(
        name=f"key:{key.fingerprint}",
        label=key.key_id,
        provider=provider.name,
        limits=key.limits,
        spread_s=spread_s(key.limits),
        margin_floor_s=provider.margin_floor_s,
        margin_ceiling_s=provider.margin_ceiling_s,
        cold_margin_s=min(COLD_MARGIN_S, provider.margin_ceiling_s),
    )


def model_domain(provider: Provider, account: str, model_entry: ModelEntry) -> Domain:
    """Return the domain of one model within an account: all keys and deployments of the account share it."""
    place = blake2b(f"{provider.base_url.rstrip('/')}\0{account}".encode(), digest_size=6).hexdigest()
    return Domain(
        name=f"model:{place}:{model_entry.name}",
        label=f"{account}/{model_entry.name}",
        provider=provider.name,
        limits=model_entry.limits,
        spread_s=spread_s(model_entry.limits),
        margin_floor_s=provider.margin_floor_s,
        margin_ceiling_s=provider.margin_ceiling_s,
        cold_margin_s=min(COLD_MARGIN_S, provider.margin_ceiling_s),
    )


def spread_s(limits: Iterable[Limit]) -> float:
    """Return how far apart to keep the calls of a burst under these limits; 0.0 without a request limit."""
    gaps = [SPREAD_SHARE * limit.per_s / limit.amount for limit in limits if limit.kind is LimitKind.REQUESTS]
    return min(SPREAD_CEILING_S, *gaps) if gaps else 0.0


def requests_per_s(limits: Iterable[Limit]) -> float:
    """Return the rate that request limits come to in the long run; inf without one."""
    rates = (limit.amount / limit.per_s for limit in limits if limit.kind is LimitKind.REQUESTS)
    return min(rates, default=float("inf"))


def burst_of(limits: Iterable[Limit]) -> float:
    """Return how many requests the limits let go at once; inf without one on requests."""
    return min((limit.amount for limit in limits if limit.kind is LimitKind.REQUESTS), default=float("inf"))


def decayed(value: float, age_s: float, half_life_s: float) -> float:
    """Return what is left of `value` after `age_s` seconds."""
    return value * 0.5 ** (age_s / half_life_s) if value > 0.0 and age_s > 0.0 else value


def learned_drift_s(remembered_s: float, late_s: float) -> float:
    """Return the lateness to remember, given what is left of the memory and a send that left `late_s` late."""
    return max(remembered_s, min(late_s, 2 * remembered_s + DRIFT_STEP_S))


def bumped_wire_s(remembered_s: float, ceiling_s: float) -> float:
    """Return the network's share after a refusal within our own limits."""
    return min(ceiling_s, max(WIRE_STEP_S, 2 * remembered_s))


def cold_drift_s(cold_margin_s: float) -> float:
    """Return the lateness that makes for such a margin."""
    return max(0.0, cold_margin_s - MARGIN_BASE_S) / DRIFT_FACTOR


def margin_s(drift_s: float, wire_s: float, floor_s: float, ceiling_s: float) -> float:
    """Return what is added to a window's length when sends are spaced."""
    return min(ceiling_s, max(floor_s, DRIFT_FACTOR * drift_s + MARGIN_BASE_S + wire_s))
