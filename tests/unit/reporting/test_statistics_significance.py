"""The tests of a difference, against SciPy and statsmodels and against counting every case."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from benchrunner.reporting.statistics import holm, mcnemar_exact, sign_flip_exact, wilson_interval

DISCORDANT = [(0, 0), (1, 0), (0, 5), (3, 3), (9, 2), (2, 11), (40, 12), (310, 260), (0, 900)]


@pytest.mark.parametrize(("a_only", "b_only"), DISCORDANT)
def test_mcnemars_exact_test_is_the_one_of_statsmodels(a_only: int, b_only: int) -> None:
    """The concordant pairs play no part in it."""
    expected = mcnemar([[17, a_only], [b_only, 5]], exact=True).pvalue
    assert mcnemar_exact(a_only, b_only) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("a_only", "b_only"), [pairs for pairs in DISCORDANT if sum(pairs)])
def test_mcnemars_exact_test_is_a_coin_tossed_once_a_discordant_pair(a_only: int, b_only: int) -> None:
    """SciPy's binomial test with one half."""
    assert mcnemar_exact(a_only, b_only) == pytest.approx(binomtest(a_only, a_only + b_only).pvalue, rel=1e-9)


@pytest.mark.parametrize(("a_only", "b_only"), DISCORDANT)
def test_over_tasks_of_one_pair_each_the_sign_test_is_mcnemars(a_only: int, b_only: int) -> None:
    """Pairs without a difference change nothing."""
    assert sign_flip_exact([1] * b_only + [0] * 8 + [-1] * a_only) == mcnemar_exact(a_only, b_only)


@pytest.mark.parametrize(
    "differences", [[2, -1], [3, 3, -1, 1, 0], [5, -2, 1, 1, -4, 2, 2], [-7, -1, -1, -3, 2, -2, 1, -1, -1], [4, 4, -4]]
)
def test_over_tasks_of_several_pairs_it_counts_the_flips_of_whole_tasks(differences: list[int]) -> None:
    """The p-value is the share of all ways to flip the signs of tasks that lie as far out as what was found."""
    ways = [
        sum(sign * difference for sign, difference in zip(signs, differences, strict=True))
        for signs in product((-1, 1), repeat=len(differences))
    ]
    expected = sum(abs(way) >= abs(sum(differences)) for way in ways) / len(ways)
    assert sign_flip_exact(differences) == pytest.approx(expected, rel=1e-12)


def test_trials_of_one_task_are_no_independent_evidence() -> None:
    """Ten tasks that each lost six trials say as much as ten lost pairs, not as much as sixty."""
    assert sign_flip_exact([-6] * 10) == mcnemar_exact(10, 0)
    assert mcnemar_exact(60, 0) < 1e-12 * mcnemar_exact(10, 0)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 40])
def test_holms_adjustment_is_the_one_of_statsmodels(count: int) -> None:
    """For p-values of every size, ties among them, in no order."""
    rng = Random(count)
    p_values = [rng.choice((rng.random() ** 6, 0.01, 0.04, 1.0)) for _ in range(count)]
    assert holm(p_values) == pytest.approx(tuple(multipletests(p_values, method="holm")[1]), rel=1e-12)


def test_no_test_needs_no_adjustment() -> None:
    """Nothing in, nothing out."""
    assert holm([]) == ()


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (1, 20), (13, 20), (99, 100), (100, 100), (1900, 2600)])
def test_wilsons_interval_is_the_one_of_statsmodels(successes: int, trials: int) -> None:
    """At every size of a cell."""
    expected = proportion_confint(successes, trials, alpha=0.05, method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx(expected, abs=1e-9)
