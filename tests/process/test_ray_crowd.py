"""The simulation behind docs/ray.md: production windows and blocks under a virtual clock, small enough for a test."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.ray_crowd import Crowd, run_crowd

SMALL = Crowd(keys=12, workers_per_key=1, dialogues=30, seconds=9.0, warm_s=3.0)


def test_keys_are_used_to_their_limits_and_never_beyond() -> None:
    """A worker per key: the provider's own count refuses nothing, and next to nothing of the limits is left unused."""
    found = run_crowd(SMALL, registries=1)
    assert found.refused == 0
    assert found.used > 0.95


def test_workers_that_share_a_key_keep_it_together() -> None:
    """Ten workers on each key, each with a late sender and a slow network: nothing is refused."""
    crowd = replace(SMALL, workers_per_key=10, dialogues=3, way_s=0.005, late_s=0.010)
    found = run_crowd(crowd, registries=1)
    assert found.refused == 0
    assert found.used > 0.95


def test_a_second_registry_halves_the_first_one_s_work() -> None:
    """Keys are independent: dealt out among registries, each has its share of the exchanges."""
    one, two = run_crowd(SMALL, registries=1), run_crowd(SMALL, registries=2)
    assert two.exchanges_per_s < 0.65 * one.exchanges_per_s
    assert two.refused == 0
