"""What a run's stored configuration still tells a report: title, key limits, and the least time it could have taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import orjson

from benchrunner.errors import StoreError
from benchrunner.planning.bounds import lower_bound
from benchrunner.planning.lineup import Lineup
from benchrunner.planning.load import TOKENS_PER_CALL
from benchrunner.planning.sharding import PhasePlan
from benchrunner.records import (
    KeyEntry,
    Limit,
    LimitKind,
    ModelEntry,
    Phase,
    PhaseOrder,
    RunRecord,
    Shard,
    ShardOrder,
)
from benchrunner.simulator.plan import scaled_limits

EntryT = TypeVar("EntryT", KeyEntry, ModelEntry)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPlan:
    """A run's phase, keys and models as they were, limits at the speed it ran at. Empty where nothing is stored."""

    title: str
    suite: str
    batch_size: int
    phase: Phase | None
    keys: tuple[KeyEntry, ...]
    models: tuple[ModelEntry, ...]

    def lower_bound_s(self, shards: Sequence[Shard], policy: str) -> float | None:
        """Return what planning said no schedule could beat, None where the run does not tell enough."""
        known = {model.name for model in self.models}
        if self.phase is None or any(shard.model not in known for shard in shards):
            return None
        # Of the suite nothing else is stored. One that only seldom asks twice gets a smaller bound, which is one too.
        one_turn = all(shard.expected_calls == len(shard.trial_ids) for shard in shards)
        lineup = Lineup(
            PhasePlan(phase=self.phase, tasks={}, trials=(), shards=tuple(shards), one_turn=one_turn),
            self.models,
            self.keys,
            policy=policy,
            batch_size=self.batch_size,
            tokens_per_call=TOKENS_PER_CALL,
        )
        return lower_bound(lineup).seconds

    def request_limit(self, key_id: str) -> Limit | None:
        """Return the key's tightest limit on requests, None where it has none."""
        limits = [
            limit
            for key in self.keys
            if key.key_id == key_id
            for limit in key.limits
            if limit.kind is LimitKind.REQUESTS
        ]
        return min(limits, key=lambda limit: limit.amount / limit.per_s, default=None)


def read_stored_plan(run: RunRecord, where: str) -> StoredPlan:
    """Return the plan in a run's stored configuration. Raises StoreError, naming `where`, when it cannot be read."""
    try:
        content = orjson.loads(run.config)
        settings = content.get("run", {})
        speed = float(content.get("simulator", {}).get("speed", 1.0)) if run.backend == "simulated" else 1.0
        phases = content.get("phases", ())
        phase = _phase(phases[0], speed) if phases else None
        return StoredPlan(
            title=phase.title if phase else "",
            suite=settings.get("suite", "workflow"),
            batch_size=settings.get("batch_size", 3),
            phase=phase,
            keys=tuple(_entry(KeyEntry, one, speed) for one in content.get("keys", ())),
            models=tuple(_model(one, speed) for one in content.get("models", ())),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise StoreError(f"the configuration of {where} cannot be read ({type(fault).__name__}: {fault})") from fault


def _entry(kind: type[EntryT], stored: Mapping[str, Any], speed: float, **better: object) -> EntryT:
    """Return the entry that is stored, at `speed`.

    What another version stored besides is left out; what it did not store yet has its default.
    """
    names = {one.name for one in fields(kind)}
    limits = scaled_limits(
        tuple(Limit(kind=LimitKind(one["kind"]), amount=one["amount"], per_s=one["per_s"]) for one in stored["limits"]),
        speed,
    )
    return kind(**{name: value for name, value in stored.items() if name in names} | {"limits": limits} | better)


def _model(stored: Mapping[str, Any], speed: float) -> ModelEntry:
    model = _entry(ModelEntry, stored, speed, deployments=tuple(stored["deployments"]))
    return replace(model, pace_qps=model.pace_qps * speed, expected_call_s=model.expected_call_s / speed)


def _phase(stored: Mapping[str, Any], speed: float) -> Phase:
    types = stored.get("task_types")
    return Phase(
        name=stored["name"],
        title=stored.get("title", ""),
        models=tuple(stored["models"]),
        prompts=tuple(stored["prompts"]),
        difficulties=tuple(stored["difficulties"]),
        task_types=None if types is None else tuple(types),
        instances=stored["instances"],
        tool_success_rates=tuple(stored["tool_success_rates"]),
        order=PhaseOrder(stored.get("order", PhaseOrder.SERIAL)),
        groups=tuple(tuple(group) for group in stored.get("groups", ())),
        stagger_s=float(stored.get("stagger_s", 0.0)) / speed,
        shard_order=ShardOrder(stored.get("shard_order", ShardOrder.MODELS)),
        policy=stored.get("policy", "pool"),
    )
