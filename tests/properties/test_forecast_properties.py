"""Forecasts of any small phase, however it is played."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "planning"))

from forecast_worlds import expectation, played, world_of
from planning_samples import StubSuite, key_entry, model_entry, phase_of, requests_per_s

from benchrunner.planning.flow import play_flow
from benchrunner.planning.forecast import Forecast, LoadMeter, World
from benchrunner.planning.sharding import plan_phase
from benchrunner.planning.trial_shapes import shape_trials
from benchrunner.records import PhaseOrder


@st.composite
def worlds(draw: st.DrawFn, policies: tuple[str, ...] = ("native", "serial", "batched", "pool")) -> World:
    keys = [
        key_entry(
            f"key{n}",
            limits=draw(st.sampled_from([(), (requests_per_s(5),), (requests_per_s(30, 20.0),)])),
            slots=draw(st.sampled_from([1, 1, 2, 0])),
        )
        for n in range(draw(st.integers(1, 3)))
    ]
    models = [
        model_entry(
            f"m{n}",
            draw(st.sampled_from(keys)).key_id,
            expected_call_s=draw(st.sampled_from([0.2, 1.0, 5.0])),
            workers=draw(st.integers(1, 8)),
            shards=draw(st.integers(1, 2)),
        )
        for n in range(draw(st.integers(1, 4)))
    ]
    phase = phase_of(
        *(model.name for model in models),
        difficulties=("very_easy", "medium")[: draw(st.integers(1, 2))],
        order=draw(st.sampled_from(list(PhaseOrder))),
        stagger_s=draw(st.sampled_from([0.0, 3.0])),
        instances=draw(st.integers(1, 4)),
    )
    suite = StubSuite()
    plan = plan_phase(phase, models, suite, run_id="r", seed=1)
    expected = {model.name: expectation(model) for model in models}
    shapes = shape_trials(plan, suite, expected, known={}, rng=Random(draw(st.integers(0, 99))))
    return world_of(plan, models, keys, draw(st.sampled_from(policies)), shapes=shapes)


def both(world: World) -> tuple[Forecast, Forecast]:
    return played(world), play_flow(world)


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_every_call_is_played_and_no_run_ends_before_its_longest_trial(world: World) -> None:
    """Whatever the grid, the limits and the policy: all calls go out, each shard is served, time suffices."""
    longest_s = max(shape.busy_s for shape in world.shapes.values())
    calls = sum(shape.calls for shape in world.shapes.values())
    for found in both(world):
        assert sum(key.calls for key in found.keys) == pytest.approx(calls, abs=3)
        assert found.makespan_s >= longest_s
        assert {lease.shard_id for lease in found.leases} == {shard.shard_id for shard in world.shards}
        assert all(lease.start_s <= lease.end_s for lease in found.leases)


@settings(max_examples=40, deadline=None)
@given(worlds(policies=("serial", "batched", "pool")))
def test_no_key_serves_more_models_at_once_than_it_has_slots(world: World) -> None:
    """Leases never exceed slots, in either way of playing."""
    slots = {key.key_id: key.slots for key in world.keys if key.slots}
    for found in both(world):
        for key_id, allowed in slots.items():
            mine = [lease for lease in found.leases if lease.key_id == key_id]
            for lease in mine:
                # At one instant a lease ends and the next begins, so ends are left out.
                assert sum(1 for other in mine if other.start_s <= lease.start_s < other.end_s) <= allowed


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 5000), st.floats(0, 50), st.floats(0.1, 20)), min_size=1, max_size=40))
def test_the_meter_keeps_every_call_however_long_the_run(spans: list[tuple[float, float, float]]) -> None:
    """Widening buckets loses nothing, and there are never more of them than fit a drawing."""
    meter = LoadMeter(["key0"])
    for from_s, length_s, calls in spans:
        meter.add("key0", from_s, from_s + length_s, calls)
    rates = meter.requests_per_s("key0")
    assert len(rates) <= LoadMeter.BUCKETS
    total = sum(calls for _, _, calls in spans)
    assert sum(rates) * meter.bucket_s == pytest.approx(total, abs=0.001 * meter.bucket_s * len(rates))
