from __future__ import annotations

from math import inf

import pytest
from planning_samples import requests_per_s

from benchrunner.planning.windows import capacity, rate_per_s, seconds_for
from benchrunner.records import Limit, LimitKind

TEN = requests_per_s(10)
TOKENS = Limit(kind=LimitKind.TOKENS, amount=400_000, per_s=60.0)


@pytest.mark.parametrize(
    ("calls", "expected_s"),
    [(0, 0.0), (1, 0.0), (10, 0.0), (11, 1.0), (20, 1.0), (21, 2.0), (200, 19.0), (10_000, 999.0)],
)
def test_a_window_lets_its_first_round_through_at_once(calls: float, expected_s: float) -> None:
    """N calls through `amount` per second need ceil(N / amount) - 1 seconds, not N / amount."""
    assert expected_s == seconds_for(calls, [[TEN]], 3000.0)


def test_keys_side_by_side_share_the_calls() -> None:
    """Three keys of ten per second send 600 calls in the time one needs for 200."""
    assert seconds_for(600, [[TEN]] * 3, 3000.0) == 19.0


def test_the_tightest_of_several_windows_holds() -> None:
    """Ten per second and 72 per minute: the first 72 take 7 s, the 73rd waits for the minute."""
    lane = [TEN, requests_per_s(72, 60.0)]
    assert (seconds_for(72, [lane], 3000.0), seconds_for(73, [lane], 3000.0)) == (7.0, 60.0)


def test_unequal_lanes_are_filled_together() -> None:
    """Lanes with other periods: 10 per 1 s beside 4 per 0.5 s give 14 at once, 18 after 0.5 s, 32 after 1 s."""
    lanes = [[TEN], [requests_per_s(4, 0.5)]]
    assert [seconds_for(n, lanes, 3000.0) for n in (14, 18, 32, 33)] == [0.0, 0.5, 1.0, 1.5]


def test_tokens_count_by_what_a_call_takes() -> None:
    """400,000 tokens a minute are 133 calls of 3,000 and a third of one more."""
    assert (seconds_for(133, [[TOKENS]], 3000.0), seconds_for(134, [[TOKENS]], 3000.0)) == (0.0, 60.0)
    assert rate_per_s([TOKENS, TEN], 3000.0) == pytest.approx(400 / 180)


def test_without_a_limit_everything_goes_at_once_and_without_a_lane_nothing() -> None:
    """No limit is no wait; no key at all is never."""
    assert (0.0, inf) == (seconds_for(1e6, [[]], 3000.0), seconds_for(1, [], 3000.0))
    assert (inf, inf) == (capacity([], 1.0, 3000.0), rate_per_s([], 3000.0))
