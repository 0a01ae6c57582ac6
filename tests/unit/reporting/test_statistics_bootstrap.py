"""The bootstrap over tasks, against SciPy's."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from scipy.stats import bootstrap

from benchrunner.reporting.statistics import bootstrap_rate_interval, bootstrap_ratio_interval, wilson_interval

RESAMPLES = 10_000


def clusters(
    count: int, *, members: tuple[int, ...], values: Sequence[float] | None, seed: int
) -> list[tuple[float, int]]:
    """Return so many clusters; `values` None: a different sum in each."""
    rng = Random(seed)
    sizes = [rng.choice(members) for _ in range(count)]
    return [
        (sum(rng.gauss(0.1, 1.0) if values is None else rng.choice(values) for _ in range(size)), size)
        for size in sizes
    ]


@pytest.mark.parametrize(
    ("count", "members", "values"),
    [
        (120, (1,), (-1, 0, 0, 0, 0, 1)),  # pairs: three kinds of tasks
        (400, (1,), (-1, 0, 0, 0, 0, 0, 0, 0)),
        (300, (2, 5), (-1, 0, 0, 1)),  # several pairs a task
        (30, (1,), (-1, 0, 0, 1)),  # too few for kinds to pay
        (80, (1,), None),  # scores: as many kinds as tasks
        (80, (1, 4), None),
    ],
)
def test_the_interval_is_scipys_percentile_bootstrap(
    count: int, members: tuple[int, ...], values: Sequence[float] | None
) -> None:
    """Whichever way the resamples are drawn, to within what two sets of resamples differ by."""
    # Given clusters
    given = clusters(count, members=members, values=values, seed=count)
    sums, sizes = (np.array(side, dtype=float) for side in zip(*given, strict=True))
    # When both draw their resamples
    found = bootstrap_ratio_interval(given, Random(5), RESAMPLES)
    theirs = bootstrap(
        (sums, sizes),
        lambda total, size, axis=-1: total.sum(axis=axis) / size.sum(axis=axis),
        paired=True,
        n_resamples=RESAMPLES,
        batch=2000,
        method="percentile",
        random_state=np.random.default_rng(5),
    )
    # Then the ends agree: a 2.5 % quantile of 10,000 draws is known to about 0.03 standard errors, and a mean of whole
    # numbers moves in steps
    step = 0.0 if values is None else 1.01 / sizes.sum()
    expected = (theirs.confidence_interval.low, theirs.confidence_interval.high)
    assert found == pytest.approx(expected, abs=max(step, 0.13 * float(theirs.standard_error)))


def test_a_rate_of_single_trials_has_nearly_wilsons_interval() -> None:
    """With one trial a task, tasks are what Wilson counts."""
    found = bootstrap_rate_interval([(1, 1)] * 240 + [(0, 1)] * 160, Random(1))
    assert found == pytest.approx(wilson_interval(240, 400), abs=0.005)


def test_a_rate_of_repeated_tasks_has_a_wider_interval_than_wilsons() -> None:
    """Ten equal trials a task are not ten pieces of news."""
    low, high = bootstrap_rate_interval([(10, 10)] * 24 + [(0, 10)] * 16, Random(1)) or (0.0, 0.0)
    wilson_low, wilson_high = wilson_interval(240, 400) or (0.0, 0.0)
    assert high - low > 2.5 * (wilson_high - wilson_low)


@pytest.mark.parametrize("given", [[], [(3, 4)]])
def test_fewer_than_two_tasks_have_no_interval(given: list[tuple[int, int]]) -> None:
    """One task says nothing about how tasks differ."""
    assert bootstrap_rate_interval(given, Random(1)) is None


def test_the_same_seed_gives_the_same_interval() -> None:
    """So that a report and a script agree, whenever they are made."""
    given = clusters(200, members=(1, 2), values=(0, 1), seed=3)
    assert bootstrap_ratio_interval(given, Random(9)) == bootstrap_ratio_interval(given, Random(9))
    assert bootstrap_ratio_interval(given, Random(9)) != bootstrap_ratio_interval(given, Random(10))


@pytest.mark.parametrize("rate", [0, 1])
def test_a_rate_without_exception_has_an_interval_of_one_point(rate: int) -> None:
    """What never varied cannot vary in a resample; that is why Wilson's stands beside it."""
    assert bootstrap_rate_interval([(rate, 1)] * 50, Random(1)) == (rate, rate)
