"""Worlds to play forecasts in, made of the planning samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from planning_samples import StubSuite

from benchrunner.engine.virtual import VirtualConductor
from benchrunner.planning.conducting import Order
from benchrunner.planning.forecast import Forecast, World
from benchrunner.planning.sharding import PhasePlan
from benchrunner.planning.trial_shapes import Expectation, TrialShape, shape_trials
from benchrunner.planning.virtual_run import play_calls
from benchrunner.policies import make_policy
from benchrunner.records import KeyEntry, ModelEntry, Provider

LayOut = Callable[..., PhasePlan]


def expectation(model: ModelEntry, **changes: object) -> Expectation:
    settings = {"latency_p50_s": model.expected_call_s, "latency_sigma": 0.3, "tokens_per_call": 1000.0} | changes
    return Expectation(**settings)  # type: ignore[arg-type]


def world_of(
    plan: PhasePlan,
    models: Sequence[ModelEntry],
    keys: Sequence[KeyEntry],
    policy: str,
    *,
    shapes: dict[str, TrialShape] | None = None,
    seed: int = 3,
    batch_size: int = 3,
) -> World:
    """Return the plan as a world, its trials drawn from the models' expectations unless they are given."""
    if shapes is None:
        expected = {model.name: expectation(model) for model in models}
        shapes = shape_trials(plan, StubSuite(one_turn=plan.one_turn), expected, known={}, rng=Random(seed))
    names = {key.provider for key in keys}
    return World(
        shards=plan.shards,
        shapes=shapes,
        models={model.name: model for model in models},
        keys=tuple(keys),
        providers={name: Provider(name=name, kind="openai", base_url="") for name in names},
        policy=make_policy(
            policy, order=plan.phase.order.value, stagger_s=plan.phase.stagger_s, batch_size=batch_size
        ),
        one_turn=plan.one_turn,
    )


class Listener:
    """A conductor that notes when calls leave, by key."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._inner = VirtualConductor(world.shards, world.keys, world.policy, one_turn=world.one_turn)
        self.key_of: dict[str, str] = {}
        self.sent_s: dict[str, list[float]] = {key.key_id: [] for key in world.keys}
        self.ticks = 0

    @property
    def ended(self) -> bool:
        return self._inner.ended

    @property
    def asks_again_s(self) -> float | None:
        return self._inner.asks_again_s

    def tick(self, now_s: float) -> list[Order]:
        self.ticks += 1
        return self._noted(self._inner.tick(now_s))

    def call_leaves(self, worker_id: str, wait_s: float, now_s: float) -> None:
        self.sent_s[self.key_of[worker_id]].append(now_s)
        self._inner.call_leaves(worker_id, wait_s, now_s)

    def trial_done(self, worker_id: str, trial_id: str, now_s: float) -> list[Order]:
        return self._noted(self._inner.trial_done(worker_id, trial_id, now_s))

    def all_sent(self, worker_id: str, nth: int, now_s: float) -> list[Order]:
        return self._noted(self._inner.all_sent(worker_id, nth, now_s))

    def worker_gone(self, worker_id: str, now_s: float) -> list[Order]:
        return self._noted(self._inner.worker_gone(worker_id, now_s))

    def _noted(self, orders: list[Order]) -> list[Order]:
        for order in orders:
            if (key_id := getattr(order, "key_id", None)) is not None:
                self.key_of[order.worker_id] = key_id
        return orders


def played(world: World) -> Forecast:
    """Return the forecast with every call played under the engine's own rules."""
    return play_calls(world, VirtualConductor(world.shards, world.keys, world.policy, one_turn=world.one_turn))


def most_in(window_s: float, instants: Sequence[float]) -> int:
    """Return the most instants within any span of `window_s`, its end left out."""
    ordered = sorted(instants)
    most = first = 0
    for last, at_s in enumerate(ordered):
        while ordered[first] + window_s <= at_s:
            first += 1
        most = max(most, last - first + 1)
    return most
