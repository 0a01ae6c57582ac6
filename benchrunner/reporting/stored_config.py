"""What a run's stored configuration says, read back from `runs.config` as far as reports and audits need it.

The text is `config_json`'s. What an older version did not store yet gets the default of today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from benchrunner.errors import StoreError
from benchrunner.records import Limit, LimitKind


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key as the run had it. `place` tells credentials apart across config files: where, and which variable."""

    key_id: str
    provider: str
    account: str
    limits: tuple[Limit, ...]
    slots: int
    place: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model as the run had it."""

    name: str
    provider: str
    limits: tuple[Limit, ...]  # of each (account, model) pair
    protocol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredGrid:
    """What the run was to ask. `task_types` None: all of the suite's."""

    models: tuple[str, ...]
    prompts: tuple[str, ...]
    difficulties: tuple[str, ...]
    tool_success_rates: tuple[float, ...]
    task_types: tuple[str, ...] | None
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConfig:
    """A run's configuration. Limits are as written, at speed 1."""

    suite: str
    suite_version: str  # "": not stored
    tasks: str | None  # the task file's name, without its directory
    coverage_floor: float
    speed: float
    keys: tuple[StoredKey, ...]
    models: tuple[StoredModel, ...]
    grid: StoredGrid | None  # None: not stored


def read_stored_config(text: str, where: str) -> StoredConfig:
    """Return the configuration in `text`. Raises StoreError, naming `where`, when it is not one."""
    try:
        content = orjson.loads(text)
        run = content.get("run", {})
        places = {one["name"]: one["base_url"] for one in content.get("providers", ())}
        phases = content.get("phases", ())
        return StoredConfig(
            suite=run.get("suite", "workflow"),
            suite_version=run.get("suite_version", ""),
            tasks=run.get("tasks"),
            coverage_floor=float(run["coverage_floor"]) if "coverage_floor" in run else default_coverage_floor(),
            speed=float(content.get("simulator", {}).get("speed", 1.0)),
            keys=tuple(_key(one, places) for one in content.get("keys", ())),
            models=tuple(_model(one) for one in content.get("models", ())),
            grid=_grid(phases[0]) if phases else None,
        )
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise StoreError(f"the configuration of {where} cannot be read ({type(fault).__name__}: {fault})") from fault


def default_coverage_floor() -> float:
    """Return the floor of a config that names none."""
    # On first touch: only a run of an older version needs the schema here.
    from benchrunner.config.schema import RunTable

    return RunTable.model_validate({}).coverage_floor


def _key(one: Mapping[str, Any], places: Mapping[str, str]) -> StoredKey:
    return StoredKey(
        key_id=one["key_id"],
        provider=one["provider"],
        account=one["account"],
        limits=_limits(one["limits"]),
        slots=one["slots"],
        place=(places.get(one["provider"], ""), one["env"]),
    )


def _model(one: Mapping[str, Any]) -> StoredModel:
    return StoredModel(
        name=one["name"],
        provider=one["provider"],
        limits=_limits(one["limits"]),
        protocol=one.get("protocol", "text"),
    )


def _grid(phase: Mapping[str, Any]) -> StoredGrid:
    types = phase["task_types"]
    return StoredGrid(
        models=tuple(phase["models"]),
        prompts=tuple(phase["prompts"]),
        difficulties=tuple(phase["difficulties"]),
        tool_success_rates=tuple(phase["tool_success_rates"]),
        task_types=None if types is None else tuple(types),
        instances=phase["instances"],
    )


def _limits(limits: list[Mapping[str, Any]]) -> tuple[Limit, ...]:
    return tuple(
        Limit(kind=LimitKind(one["kind"]), amount=one["amount"], per_s=one["per_s"]) for one in limits
    )
