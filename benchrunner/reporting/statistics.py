"""What a count of successes says and what it does not: intervals and bounds. Pure."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

CONFIDENCE = 0.95


def wilson_interval(successes: int, trials: int) -> tuple[float, float] | None:
    """Return the 95 % score interval of a success rate, None for no trials.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22 (1927), 209-212. Chosen over p +- z*s because it stays within 0..1 and says something
    at 0 and 100 %, where a cell of twenty trials often lies (L. D. Brown, T. T. Cai, A. DasGupta, "Interval
    estimation for a binomial proportion", Statistical Science 16 (2001), 101-133).
    """
    if trials == 0:
        return None
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    rate = successes / trials
    shrink = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / shrink
    half = z / shrink * sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # At 0 and at `trials` the formula meets the border exactly; the rounding of doubles does not.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def extreme_rates(successes: int, scored: int, planned: int) -> tuple[float, float] | None:
    """Return the success rate if every trial not scored had failed, and if every one had succeeded; None for none.

    No interval covers trials that infrastructure took: they are not missing at random. These two do.
    """
    if planned == 0:
        return None
    return successes / planned, (successes + planned - scored) / planned
