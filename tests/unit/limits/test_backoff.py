from __future__ import annotations

from random import Random

import pytest

from benchrunner.limits.backoff import backoff_s


def test_waits_spread_over_the_whole_interval_that_doubles_up_to_the_ceiling():
    """Full jitter: anywhere between nothing and the bound, which doubles with each attempt and then stays."""
    rng = Random(1)
    bounds = {1: 0.5, 2: 1.0, 3: 2.0, 7: 30.0, 5_000: 30.0}
    for attempt, bound_s in bounds.items():
        # When many clients back off after the same attempt
        waits = [backoff_s(attempt, rng) for _ in range(2_000)]
        # Then they fill the interval evenly
        assert 0.0 <= min(waits) < bound_s * 0.05
        assert bound_s * 0.95 < max(waits) <= bound_s
        assert sum(waits) / len(waits) == pytest.approx(bound_s / 2, rel=0.08)


def test_a_seeded_generator_repeats_its_waits():
    """A trial repeats alone: the same seed waits the same."""
    assert [backoff_s(n, Random(7)) for n in (1, 2, 3)] == [backoff_s(n, Random(7)) for n in (1, 2, 3)]


def test_attempts_are_counted_from_one():
    """A zeroth attempt is a caller's mistake."""
    with pytest.raises(ValueError, match="counted from 1"):
        backoff_s(0, Random(1))
