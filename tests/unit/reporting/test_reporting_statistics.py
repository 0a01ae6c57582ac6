"""Intervals and bounds, against published and hand-made figures."""

from __future__ import annotations

import pytest

from benchrunner.reporting.statistics import extreme_rates, wilson_interval


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [
        (10, 20, (0.2993, 0.7007)),  # symmetric about one half
        (81, 263, (0.2553, 0.3662)),  # Newcombe 1998, table I
        (15, 148, (0.0624, 0.1605)),  # Newcombe 1998, table I
        (0, 20, (0.0, 0.1611)),  # Newcombe 1998, table I
        (1, 29, (0.0061, 0.1718)),  # Newcombe 1998, table I
        (20, 20, (0.8389, 1.0)),
    ],
)
def test_the_wilson_interval_is_the_published_one(successes: int, trials: int, expected: tuple[float, float]) -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, method 3, to four places."""
    assert wilson_interval(successes, trials) == pytest.approx(expected, abs=5e-5)


def test_no_trials_have_no_interval() -> None:
    """Nothing scored says nothing."""
    assert wilson_interval(0, 0) is None


def test_the_interval_never_leaves_the_possible() -> None:
    """For every count up to 200 it lies in 0..1 and around the rate."""
    for trials in range(1, 201):
        for successes in (0, 1, trials // 2, trials - 1, trials):
            low, high = wilson_interval(successes, trials) or (2.0, -1.0)
            assert 0.0 <= low <= successes / trials <= high <= 1.0


@pytest.mark.parametrize(
    ("successes", "scored", "planned", "expected"),
    [(6, 8, 10, (0.6, 0.8)), (6, 10, 10, (0.6, 0.6)), (0, 0, 4, (0.0, 1.0)), (0, 0, 0, None)],
)
def test_missing_trials_could_all_have_failed_or_all_succeeded(
    successes: int, scored: int, planned: int, expected: tuple[float, float] | None
) -> None:
    """The bounds hold whatever infrastructure took."""
    assert extreme_rates(successes, scored, planned) == expected
