"""Checks what one value of phases.toml has to do with another: names that must exist, and places that must fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchrunner.config.faults import Faults, shown, table_name
from benchrunner.config.schema import (
    KeyTable,
    ModelLimitTable,
    ModelTable,
    NightlyTable,
    PhaseTable,
    ProviderTable,
    RayTable,
)
from benchrunner.errors import did_you_mean

VARIABLE_IN_TEXT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(slots=True)
class Tables:
    """The tables that were right by themselves, and every name that was written, right or not.

    The names let a reference to a faulty table count as found: one slip is told once.
    """

    providers: dict[str, ProviderTable] = field(default_factory=dict)
    keys: dict[str, list[KeyTable]] = field(default_factory=dict)  # by provider
    limits: dict[str, list[tuple[int, ModelLimitTable]]] = field(default_factory=dict)  # by provider, with its number
    models: dict[str, ModelTable] = field(default_factory=dict)
    phases: dict[str, PhaseTable] = field(default_factory=dict)
    provider_names: list[str] = field(default_factory=list)
    key_owners: list[tuple[str, str]] = field(default_factory=list)  # (key id, provider), as often as written
    model_names: list[str] = field(default_factory=list)
    phase_names: list[str] = field(default_factory=list)
    nightly: NightlyTable | None = None
    ray: RayTable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteWords:
    """The words a suite knows. An empty tuple: it takes any."""

    suite: str
    prompts: tuple[str, ...]
    difficulties: tuple[str, ...]
    task_types: tuple[str, ...]


def check_references(tables: Tables, words: SuiteWords | None, faults: Faults) -> None:
    """Note every reference that leads nowhere. `words` None: prompts and the like are the suite's own affair."""
    _check_providers(tables, faults)
    _check_limits(tables, faults)
    _check_models(tables, faults)
    for name, phase in tables.phases.items():
        where = f"[{table_name('phases', name)}]"
        _check_phase(where, phase, tables.model_names, faults)
        if words is not None:
            _check_words(where, phase, words, faults)
    if tables.nightly is not None:
        _check_nightly(tables.nightly, tables.phase_names, faults)
    for name in tables.ray.providers if tables.ray is not None else ():
        if name not in tables.provider_names:
            faults.unknown("[engine.ray]", "providers", name, "provider", tables.provider_names)


def base_url_fault(kind: str, url: str) -> str | None:
    """Return what is wrong with a provider's address, or None. The address is not repeated: it may hold a password."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "must be an address such as https://host/v1"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user name or password; the secret goes into the variable that the key's `env` names"
    if parts.query or parts.fragment:
        return "must end before any ? or #" + ("; write the version as api_version" if kind == "azure" else "")
    path = parts.path.rstrip("/")
    if kind == "openai" and path.endswith("/completions"):
        return "must be written up to and without /chat/completions, which is added to it"
    if kind == "azure" and re.search(r"/openai(/|$)", path):
        return "must be written up to and without /openai, which is added to it"
    return None


def _check_providers(tables: Tables, faults: Faults) -> None:
    for name, provider in tables.providers.items():
        where = f"[{table_name('providers', name)}]"
        if provider.margin_floor_s > provider.margin_ceiling_s:
            faults.add(
                f"{where} margin_floor_s = {provider.margin_floor_s:g}",
                f"must not be more than margin_ceiling_s = {provider.margin_ceiling_s:g}",
            )
        if provider.kind == "azure" and not provider.api_version:
            faults.add(f"{where} api_version", 'is missing: kind "azure" needs one, for example "2024-12-01-preview"')
        rest = VARIABLE_IN_TEXT.sub("", provider.base_url)
        if "$" in rest or "{" in rest:
            faults.add(f"{where} base_url", "a variable is written ${NAME}")
        elif rest == provider.base_url and (fault := base_url_fault(provider.kind, provider.base_url)):
            faults.add(f"{where} base_url", fault)
    for key_id, count in Counter(key_id for key_id, _ in tables.key_owners).items():
        if count > 1:
            owners = ", ".join(dict.fromkeys(owner for one, owner in tables.key_owners if one == key_id))
            where = f"[[providers.*.keys]] id = {shown(key_id)}"
            faults.add(where, f"stands {count} times (providers: {owners}); key ids are unique")


def _check_limits(tables: Tables, faults: Faults) -> None:
    for provider, limits in tables.limits.items():
        for number, limit in limits:
            if limit.model == "*":
                continue
            where = f"[[{table_name('providers', provider, 'limits')}]] (number {number})"
            if limit.model not in tables.model_names:
                faults.unknown(where, "model", limit.model, "model", ["*", *tables.model_names])
            elif (model := tables.models.get(limit.model)) and model.provider != provider:
                faults.add(f"{where} model = {shown(limit.model)}", f"is served by {model.provider}, not by {provider}")


def _check_models(tables: Tables, faults: Faults) -> None:
    for name, model in tables.models.items():
        where = f"[{table_name('models', name)}]"
        if model.provider not in tables.provider_names:
            faults.unknown(where, "provider", model.provider, "provider", tables.provider_names)
        owners = [owner for key_id, owner in tables.key_owners if key_id == model.key]
        if not owners:
            own = [key_id for key_id, owner in tables.key_owners if owner == model.provider]
            faults.unknown(where, "key", model.key, "key", own or [key_id for key_id, _ in tables.key_owners])
        elif model.provider in tables.provider_names and model.provider not in owners:
            faults.add(f"{where} key = {shown(model.key)}", f"belongs to provider {owners[0]}, not to {model.provider}")
        played = model.simulated
        if played and played.latency_p95_s is not None and (played.latency_s or 0.0) > played.latency_p95_s:
            faults.add(
                f"[{table_name('models', name, 'simulated')}] latency_p95_s = {played.latency_p95_s:g}",
                f"must not be less than latency_s = {played.latency_s:g}",
            )


def _check_phase(where: str, phase: PhaseTable, models: Sequence[str], faults: Faults) -> None:
    for model in dict.fromkeys(phase.models):
        if model not in models:
            faults.unknown(where, "models", model, "model", models)
    lists: Mapping[str, Sequence[object]] = {
        "models": phase.models,
        "prompts": phase.prompts,
        "difficulties": phase.difficulties,
        "task_types": phase.task_types or [],
        "tool_success_rates": phase.tool_success_rates,
    }
    for key, values in lists.items():
        for value in _repeated(values):
            faults.add(f"{where} {key}", f"{shown(value)} stands more than once")
    if phase.groups is None:
        if phase.order == "grouped":
            faults.add(f'{where} order = "grouped"', "needs `groups`, a list of lists that hold every prompt once")
        return
    grouped = [prompt for group in phase.groups for prompt in group]
    for prompt in dict.fromkeys(grouped):
        if prompt not in phase.prompts:
            hint = did_you_mean(prompt, phase.prompts)
            faults.add(f"{where} groups", f"{shown(prompt)} is not among the prompts; {hint}")
    for repeated in _repeated(grouped):
        faults.add(f"{where} groups", f"{shown(repeated)} stands more than once")
    for prompt in dict.fromkeys(phase.prompts):
        if prompt not in grouped:
            faults.add(f"{where} groups", f"the prompt {shown(prompt)} is in none of them")


def _check_nightly(nightly: NightlyTable, phases: Sequence[str], faults: Faults) -> None:
    for name in dict.fromkeys(nightly.phases or ()):
        if name not in phases:
            faults.unknown("[nightly]", "phases", name, "phase", phases)
    for value in _repeated(nightly.phases or ()):
        faults.add("[nightly] phases", f"{shown(value)} stands more than once")


def _check_words(where: str, phase: PhaseTable, words: SuiteWords, faults: Faults) -> None:
    asked: tuple[tuple[str, str, Iterable[str], tuple[str, ...]], ...] = (
        ("prompts", "prompt", phase.prompts, words.prompts),
        ("difficulties", "difficulty", phase.difficulties, words.difficulties),
        ("task_types", "task type", phase.task_types or (), words.task_types),
    )
    for key, noun, values, known in asked:
        for value in dict.fromkeys(values):
            if known and value not in known:
                faults.unknown(where, key, value, f"{noun} in suite {words.suite}", known)


def _repeated(values: Iterable[object]) -> list[object]:
    return [value for value, count in Counter(values).items() if count > 1]
