"""What counts of successes say and what they do not: intervals, bounds, tests of a difference. Pure.

Trials of one task hang together, so what is drawn anew here, and what changes sides, is always a whole task.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import comb, floor, sqrt
from random import Random
from statistics import NormalDist

CONFIDENCE = 0.95
RESAMPLES = 10_000

_NEGLIGIBLE = 1e-18  # of a binomial's highest probability; what is below it would never be drawn
_COUNTS_PAY = 4  # drawing one binomial costs about as much as drawing this many clusters


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


def bootstrap_rate_interval(
    clusters: Sequence[tuple[int, int]], rng: Random, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of a success rate over tasks; None for fewer than two tasks.

    `clusters`: per task its successes and its trials (at least one). Where a task has several trials this interval is
    honest and Wilson's too narrow; where each has one they say nearly the same, and Wilson's is better at 0 and 100 %.
    """
    return bootstrap_ratio_interval(clusters, rng, resamples)


def bootstrap_ratio_interval(
    clusters: Sequence[tuple[float, int]], rng: Random, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of sum / count over clusters; None for fewer than two of them.

    `clusters`: per cluster the sum over its members, and how many these are. With differences of pairs as sums this is
    the paired bootstrap. B. Efron, R. J. Tibshirani, "An introduction to the bootstrap" (1993), chapter 13.
    """
    if len(clusters) < 2:
        return None
    kinds = Counter(clusters)
    draw = _drawn_by_kind(kinds, rng) if _COUNTS_PAY * len(kinds) <= len(clusters) else _drawn_one_by_one(clusters, rng)
    ratios = sorted(draw() for _ in range(resamples))
    return _percentile(ratios, (1 - CONFIDENCE) / 2), _percentile(ratios, (1 + CONFIDENCE) / 2)


def mcnemar_exact(a_only: int, b_only: int) -> float:
    """Return the two-sided p-value of McNemar's exact test: pairs in which one side alone succeeded, by side.

    Under equal rates such a pair falls to either side like a coin. Q. McNemar, Psychometrika 12 (1947), 153-157.
    """
    pairs, fewer = a_only + b_only, min(a_only, b_only)
    # In whole numbers up to the one division: no tail is too thin.
    return min(1.0, 2 * sum(comb(pairs, count) for count in range(fewer + 1)) / (1 << pairs))


def sign_flip_exact(differences: Sequence[int]) -> float:
    """Return the two-sided p-value of a difference summed over clusters, if each could as well have its other sign.

    `differences`: per task, successes of one side minus those of the other over the same trials. McNemar's exact test
    where each task is one pair; valid where a task stands in several, which are then no independent coins.
    """
    sizes = Counter(abs(difference) for difference in differences if difference)
    if len(sizes) < 2:
        positive = sum(difference > 0 for difference in differences)
        return mcnemar_exact(positive, sizes.total() - positive)
    # chances[i]: of the flipped sum being 2 i - reach
    chances, reach = [1.0], 0
    for size, clusters in sizes.items():
        wider = [0.0] * (len(chances) + size * clusters)
        for kept in range(clusters + 1):
            share = comb(clusters, kept) / (1 << clusters)
            for place, chance in enumerate(chances, start=size * kept):
                wider[place] += share * chance
        chances, reach = wider, reach + size * clusters
    found = abs(sum(differences))
    return min(1.0, sum(chance for place, chance in enumerate(chances) if abs(2 * place - reach) >= found))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return the p-values adjusted for their number, in the order given, by Holm's step-down method.

    To call those up to 0.05 significant is to be wrong about any at all in at most 5 % of comparisons in which nothing
    differs, however the tests hang together. S. Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    steps = accumulate(((len(order) - rank) * p_values[place] for rank, place in enumerate(order)), max)
    adjusted = dict(zip(order, steps, strict=True))
    return tuple(min(1.0, adjusted[place]) for place in range(len(p_values)))


def _drawn_one_by_one(clusters: Sequence[tuple[float, int]], rng: Random) -> Callable[[], float]:
    """Return what draws as many clusters as there are and returns their ratio."""
    # Both sums in one pass over the draws.
    values = [complex(total, members) for total, members in clusters]

    def draw() -> float:
        drawn = sum(rng.choices(values, k=len(values)), start=0j)
        return drawn.real / drawn.imag

    return draw


def _drawn_by_kind(kinds: Counter[tuple[float, int]], rng: Random) -> Callable[[], float]:
    """Return what draws how many clusters of each kind there are, and returns their ratio.

    The same distribution as one by one (a multinomial is a chain of binomials), at a cost that follows the number of
    kinds: thousands of tasks have few kinds of results.
    """
    ordered = kinds.most_common()
    of_all = sum(kinds.values())
    left_of = [*accumulate((count for _, count in ordered[:-1]), int.__sub__, initial=of_all)]
    tables: dict[tuple[int, int], tuple[int, list[float]]] = {}
    random = rng.random

    def draw() -> float:
        total, members, left = 0.0, 0, of_all
        for place, ((kind_total, kind_members), count) in enumerate(ordered):
            if place == len(ordered) - 1:
                drawn = left
            else:
                key = (place, left)
                if key not in tables:
                    tables[key] = _binomial_table(left, count / left_of[place])
                first, cumulated = tables[key]
                drawn = first + bisect_right(cumulated, random() * cumulated[-1])
            total += drawn * kind_total
            members += drawn * kind_members
            left -= drawn
        return total / members

    return draw


def _binomial_table(trials: int, chance: float) -> tuple[int, list[float]]:
    """Return the first count worth a mention, and the cumulated weights from it on. `chance` lies within 0..1."""
    odds = chance / (1 - chance)
    mode = min(trials, floor((trials + 1) * chance))
    # Outwards from the highest: the probabilities themselves would underflow.
    above = [1.0]
    for count in range(mode, trials):
        above.append(above[-1] * odds * (trials - count) / (count + 1))
        if above[-1] < _NEGLIGIBLE:
            break
    below = [1.0]
    for count in range(mode, 0, -1):
        below.append(below[-1] * count / (odds * (trials - count + 1)))
        if below[-1] < _NEGLIGIBLE:
            break
    return mode - len(below) + 1, [*accumulate([*below[:0:-1], *above])]


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that `share` of the ordered ones lie below, interpolated between the two nearest."""
    place = share * (len(ordered) - 1)
    below = floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
