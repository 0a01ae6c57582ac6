"""A phase's forecast from its config: rehearsed trials, history, and the speed of the embedded provider."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchrunner.config.load import load_config
from benchrunner.config.settings import Config, SimulatedModel
from benchrunner.engine.outlook import forecast, informed, phase_world
from benchrunner.engine.rehearsal import rehearse, simulated_latency_s
from benchrunner.planning.load import static_load
from benchrunner.planning.shard_time import SHARE_HOLD_S
from benchrunner.planning.sharding import plan_phase
from benchrunner.policies import policy_names
from benchrunner.records import Phase
from benchrunner.suites import load_suite

SHIPPED = Path(__file__).parents[3] / "phases.toml"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The shipped config, its database elsewhere."""
    found = load_config(SHIPPED, environ={})
    return replace(found, run=replace(found.run, db=tmp_path / "runs.db"))


def phase_of(config: Config, instances: int = 1) -> Phase:
    return replace(config.phase("5.2"), instances=instances)


def at_speed(config: Config, speed: float) -> Config:
    return replace(config, simulator=replace(config.simulator, speed=speed))


def test_rehearsed_trials_repeat_whatever_else_is_rehearsed(config: Config) -> None:
    """A rehearsed trial makes the calls it will make: they depend on the seed and on nothing around it."""
    suite, phase = load_suite("workflow", None), phase_of(config, 3)
    entries = config.phase_models(phase)
    plan = plan_phase(phase, entries, suite, run_id="r", seed=config.run.seed)
    models = {model.name: model for model in entries}
    # When all trials are rehearsed, and a tenth of them
    whole, some = (rehearse(config, plan, suite, models, most=most) for most in (1000, 15))
    # Then the tenth is spread over all models and says the same
    assert set(whole) == {trial.trial_id for trial in plan.trials}
    assert {trial_id: whole[trial_id] for trial_id in some} == some
    model_of = {trial.trial_id: trial.condition.model for trial in plan.trials}
    assert {model_of[trial_id] for trial_id in some} == set(models)
    assert all(1 <= shape.calls <= suite.max_turns for shape in whole.values())


def test_at_five_times_the_speed_everything_takes_a_fifth(config: Config) -> None:
    """Latencies, pace, limits and launches follow the speed; the engine's own seconds (starts, fair shares) do not."""
    suite = load_suite("workflow", None)
    for policy in policy_names():
        slow, fast = (
            forecast(one, world.plan, world.models, world.keys, world.shapes, measured=(), policy=policy).makespan_s
            for one in (at_speed(config, 1.0), at_speed(config, 5.0))
            for world in [phase_world(one, phase_of(one), suite)]
        )
        # At the end of a run under `pool` two workers may keep to their fair share for a while, at any speed.
        assert fast == pytest.approx(slow / 5, rel=0.05, abs=2 * SHARE_HOLD_S)


def test_no_forecast_beats_the_lower_bound_and_policies_rank_as_they_should(config: Config) -> None:
    """On the shipped phase 5.2: pool before batched before serial, and none faster than can be."""
    suite = load_suite("workflow", None)
    world = phase_world(config, phase_of(config, 2), suite)
    plan, models = informed(world, 1.0), tuple(world.models.values())
    makespan_s = {}
    for policy in policy_names():
        found = forecast(config, world.plan, world.models, world.keys, world.shapes, measured=(), policy=policy)
        bound = static_load(plan, models, world.keys, policy=policy, tokens_per_call=world.tokens_per_call)
        assert found.makespan_s >= bound.lower_bound_s
        makespan_s[policy] = found.makespan_s
    assert makespan_s["pool"] < makespan_s["batched"] < makespan_s["serial"]


def test_a_live_phase_without_history_is_forecast_from_the_config(config: Config) -> None:
    """expected_call_s and the suite's expectations stand in until runs.db knows better; nobody is rehearsed."""
    live = replace(config, run=replace(config.run, backend="live"))
    world = phase_world(live, phase_of(live, 4), load_suite("workflow", None))
    assert world.source == "expected_call_s and the suite's expectations"
    expected = {model.name: model.expected_call_s for model in live.models}
    for shard in informed(world, 1.0).shards:
        assert shard.expected_call_s == pytest.approx(expected[shard.model], rel=0.25)


def test_what_the_config_says_of_a_simulated_model_goes_before_the_built_in(config: Config) -> None:
    """[models.X.simulated] sets median and percentile; a new median keeps the built-in spread; speed divides both."""
    name = "qwen2.5-7b-instruct"
    assert simulated_latency_s(config, name) == (1.5, 2.0)
    wished = {name: SimulatedModel(latency_s=3.0, latency_p95_s=None, skill=None)}
    assert simulated_latency_s(at_speed(replace(config, simulated=wished), 2.0), name) == (1.5, 2.0)
