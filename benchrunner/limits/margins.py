"""A domain's margin as its page in the ledger holds it, and what it is learned from: how late calls leave, refusals.

Both memories fade (limits/domains.py has the rules); the margin is kept beside them, so that a permit only reads it.
"""

from __future__ import annotations

from benchrunner.limits.domains import (
    DRIFT_HALF_LIFE_S,
    WIRE_HALF_LIFE_S,
    bumped_wire_s,
    cold_drift_s,
    decayed,
    learned_drift_s,
    margin_s,
)
from benchrunner.limits.pages import (
    P_CEILING,
    P_DRIFT,
    P_DRIFT_AT,
    P_FLOOR,
    P_MARGIN,
    P_SPREAD,
    P_WIRE,
    P_WIRE_AT,
)
from benchrunner.records import Domain


def learn_lateness(num: memoryview[float], at: int, now_s: float, late_s: float) -> None:
    """Learn into the page at `at` that a call left `late_s` after its instant."""
    left = decayed(num[at + P_DRIFT], now_s - num[at + P_DRIFT_AT], DRIFT_HALF_LIFE_S)
    num[at + P_DRIFT] = learned_drift_s(left, min(late_s, num[at + P_CEILING]))
    num[at + P_DRIFT_AT] = now_s
    _set_margin(num, at, now_s)


def widen(num: memoryview[float], at: int, now_s: float) -> None:
    """Learn that the provider refused a call within the page's limits: arrivals bunched up."""
    left = decayed(num[at + P_WIRE], now_s - num[at + P_WIRE_AT], WIRE_HALF_LIFE_S)
    num[at + P_WIRE] = bumped_wire_s(left, num[at + P_CEILING])
    num[at + P_WIRE_AT] = now_s
    _set_margin(num, at, now_s)


def set_bounds(num: memoryview[float], at: int, now_s: float, domain: Domain) -> None:
    """Take the domain's bounds and spread, and expect what a cold start costs: its processes are starting now."""
    num[at + P_FLOOR], num[at + P_CEILING] = domain.margin_floor_s, domain.margin_ceiling_s
    num[at + P_SPREAD] = domain.spread_s
    left = decayed(num[at + P_DRIFT], now_s - num[at + P_DRIFT_AT], DRIFT_HALF_LIFE_S)
    num[at + P_DRIFT] = max(left, cold_drift_s(domain.cold_margin_s))
    num[at + P_DRIFT_AT] = now_s
    _set_margin(num, at, now_s)


def _set_margin(num: memoryview[float], at: int, now_s: float) -> None:
    drift_s = decayed(num[at + P_DRIFT], now_s - num[at + P_DRIFT_AT], DRIFT_HALF_LIFE_S)
    wire_s = decayed(num[at + P_WIRE], now_s - num[at + P_WIRE_AT], WIRE_HALF_LIFE_S)
    num[at + P_MARGIN] = margin_s(drift_s, wire_s, num[at + P_FLOOR], num[at + P_CEILING])
