"""A phase's forecast from its config: what its trials will be, its limits at the speed of the run, then the play."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from benchrunner.config.settings import Config
from benchrunner.engine.virtual import VirtualConductor
from benchrunner.errors import StoreError
from benchrunner.planning.flow import play_flow
from benchrunner.planning.forecast import CALLS_ONE_BY_ONE, Forecast, World
from benchrunner.planning.load import TOKENS_PER_CALL
from benchrunner.planning.sharding import PhasePlan, plan_phase
from benchrunner.planning.trial_shapes import LATENCY_SIGMA, Expectation, TrialShape, latency_sigma, shape_trials
from benchrunner.planning.virtual_run import play_calls
from benchrunner.policies import make_policy
from benchrunner.records import KeyEntry, ModelEntry, Phase, Shard
from benchrunner.simulator.plan import scaled_limits
from benchrunner.store.history import model_samples
from benchrunner.suites.base import Suite

TRIALS_REHEARSED = 500
"""Trials rehearsed for one `plan`, all its phases together: a fifth of a millisecond per call."""


TRIALS_REHEARSED_AT_LAUNCH = 200
"""For the forecast kept with a run: it must not delay the first call."""

CALLS_ONE_BY_ONE_AT_LAUNCH = 3000
"""For the same reason: 0.2 s."""

SHORTEST_CALL_S = 1e-3
"""Of a simulated model without latency: nothing takes no time at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseWorld:
    """A phase laid out at the speed it will run at, and what its trials are expected to be."""

    phase: Phase
    plan: PhasePlan
    models: Mapping[str, ModelEntry]
    keys: tuple[KeyEntry, ...]  # all of the config's
    shapes: Mapping[str, TrialShape]
    source: str  # where the shapes come from, for people
    measured: frozenset[str]  # models whose call times were measured, not guessed

    @property
    def tokens_per_call(self) -> float:
        """Return the tokens a call is expected to take, all trials together."""
        calls = sum(shape.calls for shape in self.shapes.values())
        return sum(shape.calls * shape.tokens_per_call for shape in self.shapes.values()) / calls


def speed_of(config: Config) -> float:
    """Return how many times faster than real time the backend runs."""
    return config.simulator.speed if config.run.backend == "simulated" else 1.0


def model_at_speed(model: ModelEntry, speed: float) -> ModelEntry:
    """Return the model entry as the embedded provider has it at `speed`."""
    return replace(
        model,
        limits=scaled_limits(model.limits, speed),
        pace_qps=model.pace_qps * speed,
        expected_call_s=model.expected_call_s / speed,
    )


def keys_at_speed(config: Config) -> tuple[KeyEntry, ...]:
    """Return the config's keys with their limits as the backend keeps them."""
    speed = speed_of(config)
    return tuple(replace(key, limits=scaled_limits(key.limits, speed)) for key in config.keys)


def phase_world(config: Config, phase: Phase, suite: Suite, *, most_rehearsed: int = TRIALS_REHEARSED) -> PhaseWorld:
    """Return the phase laid out, its trials' shapes from rehearsal (simulated), history, or else the config.

    Reads runs.db, if there is one. Raises what `plan_phase` raises.
    """
    speed = speed_of(config)
    models = {model.name: model_at_speed(model, speed) for model in config.phase_models(phase)}
    plan = plan_phase(phase, tuple(models.values()), suite, run_id="plan", seed=config.run.seed)
    shapes, source, measured = expected_shapes(config, plan, suite, models, most_rehearsed=most_rehearsed)
    return PhaseWorld(
        phase=phase,
        plan=plan,
        models=models,
        keys=keys_at_speed(config),
        shapes=shapes,
        source=source,
        measured=measured,
    )


def expected_shapes(
    config: Config, plan: PhasePlan, suite: Suite, models: Mapping[str, ModelEntry], *, most_rehearsed: int
) -> tuple[dict[str, TrialShape], str, frozenset[str]]:
    """Return a shape for each trial of the plan, in words where they come from, and the models that were measured."""
    rng = Random(config.run.seed)
    if config.run.backend == "simulated":
        # Here and not above: a live run's first call does not wait for the import of models that are not asked.
        from benchrunner.engine.rehearsal import simulated_shapes

        shapes, source = simulated_shapes(config, plan, suite, models, most_rehearsed=most_rehearsed, rng=rng)
        return shapes, source, frozenset(models)
    expected, source, measured = _from_history(config, tuple(models.values()))
    return shape_trials(plan, suite, expected, known={}, rng=rng), source, measured


def informed(world: PhaseWorld, speed: float) -> PhasePlan:
    """Return the plan with what the shapes say its shards expect, calls and seconds per call, and its stagger at speed.
    """
    plan = world.plan
    phase = replace(plan.phase, stagger_s=plan.phase.stagger_s / speed)
    return replace(plan, phase=phase, shards=informed_shards(plan.shards, world.shapes, world.measured))


def informed_shards(
    shards: Sequence[Shard], shapes: Mapping[str, TrialShape], measured: Collection[str]
) -> tuple[Shard, ...]:
    """Return the shards with what their trials' shapes say they expect: calls, and seconds per call."""
    informed = []
    for shard in shards:
        mine = [shapes[trial_id] for trial_id in shard.trial_ids]
        calls = sum(shape.calls for shape in mine)
        busy_s = sum(shape.busy_s for shape in mine)
        call_s = max(busy_s / calls, SHORTEST_CALL_S)
        informed.append(
            replace(
                shard,
                expected_calls=float(calls),
                expected_call_s=call_s,
                measured_call_s=call_s if shard.model in measured else None,
            )
        )
    return tuple(informed)


def _from_history(
    config: Config, models: Sequence[ModelEntry]
) -> tuple[dict[str, Expectation], str, frozenset[str]]:
    try:
        samples = model_samples(config.run.db, [model.name for model in models], backend=config.run.backend)
        trouble = ""
    except StoreError as error:  # a forecast does without a history; whoever runs is told by the run
        samples, trouble = {}, f" ({error})"
    expected = {}
    for model in models:
        sample = samples.get(model.name)
        if sample is None:
            expected[model.name] = Expectation(
                latency_p50_s=model.expected_call_s, latency_sigma=LATENCY_SIGMA, tokens_per_call=TOKENS_PER_CALL
            )
            continue
        expected[model.name] = Expectation(
            latency_p50_s=sample.latency_p50_s,
            latency_sigma=latency_sigma(sample.latency_p50_s, sample.latency_p95_s),
            tokens_per_call=TOKENS_PER_CALL if sample.tokens_per_call is None else sample.tokens_per_call,
            calls_of=sample.calls_of,
            )
    if not samples:
        source = f"expected_call_s and the suite's expectations{trouble}"
    elif len(samples) == len(models):
        source = "earlier runs"
    else:
        source = f"earlier runs of {len(samples)} of {len(models)} models, expected_call_s for the others"
    return expected, source, frozenset(samples)


def forecast(
    config: Config,
    plan: PhasePlan,
    models: Mapping[str, ModelEntry],
    keys: Sequence[KeyEntry],
    shapes: Mapping[str, TrialShape],
    *,
    measured: Collection[str],
    policy: str,
    calls_one_by_one: int = CALLS_ONE_BY_ONE,
) -> Forecast:
    """Return the forecast of a laid-out phase under the policy; more calls than `calls_one_by_one` are a flow."""
    world = world_of(config, plan, models, keys, shapes, measured=measured, policy=policy)
    return play(world, calls_one_by_one=calls_one_by_one)


def play(world: World, *, calls_one_by_one: int = CALLS_ONE_BY_ONE) -> Forecast:
    """Return the forecast of a world, played call by call up to so many calls."""
    if sum(shape.calls for shape in world.shapes.values()) > calls_one_by_one:
        return play_flow(world)
    return play_calls(world, VirtualConductor(world.shards, world.keys, world.policy, one_turn=world.one_turn))


def world_of(
    config: Config,
    plan: PhasePlan,
    models: Mapping[str, ModelEntry],
    keys: Sequence[KeyEntry],
    shapes: Mapping[str, TrialShape],
    *,
    measured: Collection[str],
    policy: str,
) -> World:
    """Return a laid-out phase ready to be played under the policy."""
    phase = plan.phase
    used = {shard.provider for shard in plan.shards}
    return World(
        shards=informed_shards(plan.shards, shapes, measured),
        shapes=shapes,
        models=models,
        keys=tuple(key for key in keys if key.provider in used),
        providers={provider.name: provider for provider in config.providers},
        policy=make_policy(
            policy,
            order=phase.order.value,
            stagger_s=phase.stagger_s / speed_of(config),
            batch_size=config.run.batch_size,
        ),
        one_turn=plan.one_turn,
    )


def world_at_launch(config: Config, plan: PhasePlan, suite: Suite, models: Mapping[str, ModelEntry]) -> World:
    """Return what a run that is about to start is expected to be; `plan` and `models` at its speed."""
    shapes, _, measured = expected_shapes(config, plan, suite, models, most_rehearsed=TRIALS_REHEARSED_AT_LAUNCH)
    keys = keys_at_speed(config)
    return world_of(config, plan, models, keys, shapes, measured=measured, policy=plan.phase.policy)


def forecast_at_launch(world: World) -> float:
    """Return the makespan to keep with the run."""
    return play(world, calls_one_by_one=CALLS_ONE_BY_ONE_AT_LAUNCH).makespan_s
