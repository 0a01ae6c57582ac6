"""How often a comparison is wrong, and how often it finds what is there: computed over many seeds."""

from __future__ import annotations

from random import Random

from compared_runs import pair
from scipy.stats import binomtest

from benchrunner.reporting.comparison import compare_pairs
from benchrunner.reporting.pairing import Pair
from benchrunner.reporting.statistics import mcnemar_exact

PROMPTS = ("optimal", "baseline", "cot", "flawed_a", "flawed_b")
TASKS = 100


def paired_runs(rng: Random, *, drop: float = 0.0, fate_shared: float = 0.0) -> list[Pair]:
    """Return two runs of the same tasks under five prompts, B's success rate lower by `drop`.

    Tasks differ in difficulty. With `fate_shared`, that share of tasks has one outcome a run under every prompt: what
    changes under one changes under all.
    """
    pairs = []
    for task in range(TASKS):
        easy = rng.betavariate(4, 1.5)
        fated = rng.random() < fate_shared
        fate_a, fate_b = rng.random(), rng.random()
        for prompt in PROMPTS:
            luck_a, luck_b = (fate_a, fate_b) if fated else (rng.random(), rng.random())
            pairs.append(pair(luck_a < easy, luck_b < easy - drop, task=task, prompt=prompt))
    return pairs


def test_where_nothing_differs_five_comparisons_in_a_hundred_find_something_at_most() -> None:
    """The family-wise rate of false findings, over five conditions and the overall line, is held at 5 %."""
    runs = 300
    false = 0
    for seed in range(runs):
        rows, overall = compare_pairs(paired_runs(Random(seed)), rng=Random(seed), resamples=1)
        false += any(row.significant for row in (*rows, overall))
    # Not above 5 % by more than chance, and not asleep either: the exact test stays below its level, not at 0
    assert binomtest(false, runs, 0.05, alternative="greater").pvalue > 0.001
    assert false >= runs * 0.01


def test_tasks_that_change_under_every_prompt_at_once_are_not_taken_for_many() -> None:
    """Where trials of one task share their fate, pairs counted as independent cry wolf; the overall line does not."""
    runs = 150
    false = naive = 0
    for seed in range(runs):
        _, overall = compare_pairs(paired_runs(Random(seed), fate_shared=0.7), rng=Random(seed), resamples=1)
        false += overall.p_value <= 0.05
        naive += mcnemar_exact(overall.a_only, overall.b_only) <= 0.05
    assert binomtest(false, runs, 0.05, alternative="greater").pvalue > 0.001
    assert naive > 0.15 * runs


def test_a_drop_of_ten_points_is_found() -> None:
    """Five hundred pairs over a hundred tasks find it in eight of ten cases, and never call it a gain."""
    found = 0
    for seed in range(40):
        rows, overall = compare_pairs(paired_runs(Random(seed), drop=0.12), rng=Random(seed), resamples=1)
        found += overall.regression
        assert not any(row.significant and not row.regression for row in (*rows, overall))
    assert found >= 32


def test_intervals_cover_the_true_difference_nineteen_times_in_twenty() -> None:
    """The paired bootstrap over tasks holds what it says, with trials that share their task's fate."""
    runs = 100
    covered = 0
    for seed in range(runs):
        pairs = paired_runs(Random(seed), fate_shared=0.5)
        _, overall = compare_pairs(pairs, rng=Random(seed), resamples=400)
        assert overall.low is not None
        assert overall.high is not None
        covered += overall.low <= 0.0 <= overall.high
    assert binomtest(covered, runs, 0.95, alternative="less").pvalue > 0.001
