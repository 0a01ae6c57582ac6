"""What holds of every comparison, whatever the results."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "reporting"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "store"))
from compared_runs import pair

from benchrunner.reporting.comparison import compare_pairs
from benchrunner.reporting.pairing import Pair
from benchrunner.reporting.statistics import bootstrap_ratio_interval, holm, sign_flip_exact

PAIRS = st.lists(
    st.builds(
        lambda a, b, task, prompt: pair(a, b, task=task, prompt=prompt),
        st.booleans(),
        st.booleans(),
        st.integers(0, 6),
        st.sampled_from(("optimal", "baseline")),
    ),
    min_size=1,
    max_size=40,
)


@given(st.lists(st.integers(-4, 4), max_size=9))
def test_the_exact_test_counts_every_flip_of_signs(differences: list[int]) -> None:
    """Its p-value is the share of sign patterns at least as far out as what was found."""
    ways = [
        sum(sign * difference for sign, difference in zip(signs, differences, strict=True))
        for signs in product((-1, 1), repeat=len(differences))
    ]
    expected = sum(abs(way) >= abs(sum(differences)) for way in ways) / len(ways)
    assert abs(sign_flip_exact(differences) - expected) < 1e-9


@given(st.lists(st.floats(0, 1), max_size=12))
def test_adjusted_p_values_are_never_smaller_and_keep_their_order(p_values: list[float]) -> None:
    """Adjusting makes nothing significant, and ranks stay."""
    adjusted = holm(p_values)
    assert all(before <= after <= 1 for before, after in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [adjusted[place] for place in order] == sorted(adjusted)


@given(PAIRS)
@settings(max_examples=60, deadline=None)
def test_to_compare_the_other_way_round_turns_every_sign_and_no_verdict(pairs: list[Pair]) -> None:
    """A against B and B against A tell one story."""
    turned = [Pair(a=one.b, b=one.a) for one in pairs]
    rows, overall = compare_pairs(pairs, rng=Random(1), resamples=20)
    back, overall_back = compare_pairs(turned, rng=Random(1), resamples=20)
    for one, other in zip((*rows, overall), (*back, overall_back), strict=True):
        assert (one.rate_a, one.rate_b, one.a_only, one.b_only) == (
            other.rate_b, other.rate_a, other.b_only, other.a_only
        )  # fmt: skip
        assert (one.difference, one.p_value, one.p_adjusted) == (-other.difference, other.p_value, other.p_adjusted)
        assert one.significant == other.significant


@given(PAIRS)
@settings(max_examples=60, deadline=None)
def test_the_rows_add_up_to_the_overall_one(pairs: list[Pair]) -> None:
    """Every pair is in exactly one row, and a rate is what its counts say."""
    rows, overall = compare_pairs(pairs, rng=Random(1), resamples=20)
    assert sum(row.pairs for row in rows) == overall.pairs == len(pairs)
    assert sum(row.a_only for row in rows) == overall.a_only
    for row in (*rows, overall):
        assert abs(row.difference - (row.rate_b - row.rate_a)) < 1e-12
        assert row.low is None or row.high is None or -1 <= row.low <= row.high <= 1


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 4)), min_size=2, max_size=200), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_a_bootstrap_interval_lies_among_the_clusters_own_ratios(found: list[tuple[int, int]], seed: int) -> None:
    """A resample mixes clusters: it is never beyond the most extreme of them, in whichever way it is drawn."""
    low, high = bootstrap_ratio_interval(found, Random(seed), 50) or (0.0, 0.0)
    ratios = [total / members for total, members in found]
    assert min(ratios) - 1e-9 <= low <= high <= max(ratios) + 1e-9
