"""phases.toml in, Config out; or one ConfigError that tells all its faults at once. Reads files, writes none."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from benchrunner.config.faults import Faults, shown, table_name
from benchrunner.config.injected import check_outage, injected_faults
from benchrunner.config.references import VARIABLE_IN_TEXT, SuiteWords, Tables, check_references
from benchrunner.config.schema import (
    POLICY_LETTERS,
    WORD,
    EngineTable,
    KeyTable,
    LimitTable,
    ModelLimitTable,
    ModelTable,
    NightlyTable,
    PhaseTable,
    ProviderTable,
    RayTable,
    RunTable,
    SimulatorTable,
)
from benchrunner.config.settings import (
    Config,
    NightlySettings,
    RaySettings,
    RunSettings,
    SimulatedModel,
    SimulatorSettings,
)
from benchrunner.errors import ConfigError, did_you_mean
from benchrunner.records import KeyEntry, Limit, LimitKind, ModelEntry, Phase, PhaseOrder, Provider, ShardOrder

_TOP = ("run", "simulator", "providers", "models", "phases", "nightly", "engine")
_CLOSED_SUITE = "workflow"  # the suite whose words are known before a task file is


def load_config(path: Path, *, environ: Mapping[str, str], words: SuiteWords | None = None) -> Config:
    """Return the configuration in `path`; no secret is needed or looked at.

    Relative paths in it are relative to the file, `${NAME}` in them is read from `environ`. `words` are the prompts,
    difficulties and task types that phases may name; None takes those of the suite where it has a closed list.
    Raises ConfigError with every fault of the file.
    """
    raw = _parse(path)
    faults = Faults()
    for name in raw:
        if name not in _TOP:
            faults.add(f"[{table_name(name)}]", f"unknown table; {did_you_mean(name, _TOP)}")
    run = faults.validated(RunTable, raw.get("run", {}), "[run]")
    simulator = faults.validated(SimulatorTable, raw.get("simulator", {}), "[simulator]")
    tables = _tables(raw, faults)
    tables.nightly = faults.validated(NightlyTable, raw.get("nightly", {}), "[nightly]")
    engine = faults.validated(EngineTable, raw.get("engine", {}), "[engine]")
    if engine is not None:
        tables.ray = engine.ray or faults.validated(RayTable, {}, "[engine.ray]")
    if words is None and run is not None and run.suite == _CLOSED_SUITE:
        words = _closed_words()
    check_references(tables, words, faults)
    injected = injected_faults(simulator.faults if simulator is not None else None)
    check_outage(injected, tuple(key_id for key_id, _ in tables.key_owners), "[simulator.faults]", faults)
    settings = _run_settings(run, path, environ, faults) if run is not None else None
    if faults.sentences or settings is None or simulator is None or tables.nightly is None or tables.ray is None:
        raise ConfigError(str(path), tuple(faults.sentences))
    return Config(
        path=path,
        run=settings,
        simulator=SimulatorSettings(**(simulator.model_dump() | {"faults": injected})),
        providers=tuple(_provider(name, table) for name, table in tables.providers.items()),
        keys=tuple(_key(name, table) for name, keys in tables.keys.items() for table in keys),
        models=tuple(_model(name, table, tables) for name, table in tables.models.items()),
        simulated={
            name: SimulatedModel(**table.simulated.model_dump())
            for name, table in tables.models.items()
            if table.simulated is not None
        },
        phases=tuple(_phase(name, table) for name, table in tables.phases.items()),
        nightly=_nightly(tables.nightly, tuple(tables.phases)),
        ray=RaySettings(**tables.ray.model_dump()),
    )


def _parse(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(str(path), ("there is no such file; `benchrunner init` writes one here",)) from None
    except OSError as error:
        raise ConfigError(str(path), (f"cannot be read: {error.strerror or error}",)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), (f"is not UTF-8 text (byte {error.start})",)) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), (f"is not TOML: {error}",)) from error


def _tables(raw: Mapping[str, object], faults: Faults) -> Tables:
    tables = Tables()
    for name, body in _named(raw, "providers", faults):
        tables.provider_names.append(name)
        _read_provider(name, body, tables, faults)
    for name, body in _named(raw, "models", faults):
        tables.model_names.append(name)
        if "," in name or name != name.strip() or name in ("", "*"):
            faults.add(f"[{table_name('models', name)}]", "a model's name is not empty or *, and holds no comma")
        if model := faults.validated(ModelTable, body, f"[{table_name('models', name)}]"):
            tables.models[name] = model
    for name, body in _named(raw, "phases", faults):
        tables.phase_names.append(name)
        _check_word("phases", name, faults)
        if phase := faults.validated(PhaseTable, body, f"[{table_name('phases', name)}]"):
            tables.phases[name] = phase
    return tables


def _named(raw: Mapping[str, object], name: str, faults: Faults) -> list[tuple[str, object]]:
    """Return the tables under `name`; none at all is a fault."""
    value = raw.get(name, {})
    if not isinstance(value, dict):
        faults.add(f"[{name}]", f"must hold tables such as [{name}.NAME], not {shown(value)}")
        return []
    if not value:
        faults.add(f"[{name}]", f"there is none; at least one [{name}.NAME] is needed")
    return list(value.items())


def _read_provider(name: str, body: object, tables: Tables, faults: Faults) -> None:
    where = f"[{table_name('providers', name)}]"
    _check_word("providers", name, faults)
    if not isinstance(body, dict):
        faults.add(where, f"must be a table, not {shown(body)}")
        return
    own = {key: value for key, value in body.items() if key not in ("keys", "limits")}
    if provider := faults.validated(ProviderTable, own, where, also=("keys", "limits")):
        tables.providers[name] = provider
    keys = _rows(body, name, "keys", faults)
    if not keys and body.get("keys", []) == []:
        faults.add(where, f"has no key; at least one [[{table_name('providers', name, 'keys')}]] is needed")
    for number, row in enumerate(keys, 1):
        key_id = row.get("id") if isinstance(row, dict) else None
        known = isinstance(key_id, str) and WORD.fullmatch(key_id)
        if isinstance(key_id, str):
            tables.key_owners.append((key_id, name))
        label = f"[[{table_name('providers', name, 'keys')}]] ({key_id if known else f'number {number}'})"
        if key := faults.validated(KeyTable, row, label):
            tables.keys.setdefault(name, []).append(key)
            for place, own_limit in enumerate(key.limits, 1):
                _check_counts(own_limit, f"{label} limits[{place}]", faults)
    for number, row in enumerate(_rows(body, name, "limits", faults), 1):
        label = f"[[{table_name('providers', name, 'limits')}]] (number {number})"
        if limit := faults.validated(ModelLimitTable, row, label):
            tables.limits.setdefault(name, []).append((number, limit))
            _check_counts(limit, label, faults)


def _rows(body: Mapping[str, object], provider: str, key: str, faults: Faults) -> list[object]:
    value = body.get(key, [])
    if isinstance(value, list):
        return value
    table = table_name("providers", provider, key)
    faults.add(f"[{table_name('providers', provider)}] {key}", f"is written as [[{table}]], once for each")
    return []


def _check_word(kind: str, name: str, faults: Faults) -> None:
    if not WORD.fullmatch(name):
        where = f"[{table_name(kind, name)}]"
        faults.add(where, "a name may hold letters, digits, dots, dashes and underscores only")


def _check_counts(limit: LimitTable, where: str, faults: Faults) -> None:
    if limit.requests is None and limit.tokens is None:
        faults.add(where, "needs `requests`, `tokens` or both")


def _closed_words() -> SuiteWords:
    # On first touch: a suite's tables cost more than all of this file.
    from benchrunner.suites import load_suite

    suite = load_suite(_CLOSED_SUITE)
    return SuiteWords(
        suite=suite.name, prompts=suite.prompts, difficulties=suite.difficulties, task_types=suite.task_types
    )


def _run_settings(run: RunTable, config: Path, environ: Mapping[str, str], faults: Faults) -> RunSettings:
    def place(key: str, text: str) -> Path:
        missing = [name for name in VARIABLE_IN_TEXT.findall(text) if not environ.get(name)]
        for name in missing:
            faults.add(f"[run] {key} = {shown(text)}", f"the environment variable {name} is not set")
        settled = VARIABLE_IN_TEXT.sub(lambda found: environ.get(found[1], ""), text)
        return config.parent / settled

    values = run.model_dump()
    for key in ("db", "tasks", "env_file"):
        values[key] = place(key, values[key]) if values[key] is not None else None
    return RunSettings(**values)


def _nightly(table: NightlyTable, every_phase: tuple[str, ...]) -> NightlySettings:
    return NightlySettings(
        phases=every_phase if table.phases is None else tuple(table.phases),
        policy=POLICY_LETTERS.get(table.policy, table.policy) if table.policy is not None else None,
        deadline_s=table.deadline_s,
        wait_s=table.wait_s,
    )


def _limits(table: LimitTable) -> tuple[Limit, ...]:
    counts = ((LimitKind.REQUESTS, table.requests), (LimitKind.TOKENS, table.tokens))
    return tuple(Limit(kind=kind, amount=amount, per_s=table.per_s) for kind, amount in counts if amount is not None)


def _provider(name: str, table: ProviderTable) -> Provider:
    return Provider(name=name, **(table.model_dump() | {"base_url": table.base_url.rstrip("/")}))


def _key(provider: str, table: KeyTable) -> KeyEntry:
    return KeyEntry(
        key_id=table.id,
        provider=provider,
        env=table.env,
        account=table.account or table.id,
        limits=tuple(limit for one in table.limits for limit in _limits(one)),
        slots=table.slots,
    )


def _model(name: str, table: ModelTable, tables: Tables) -> ModelEntry:
    values = table.model_dump(exclude={"key", "simulated"})
    shared = tables.limits.get(table.provider, [])
    return ModelEntry(
        name=name,
        key_id=table.key,
        limits=tuple(limit for _, one in shared if one.model in ("*", name) for limit in _limits(one)),
        **(values | {"deployments": tuple(table.deployments or [name])}),
    )


def _phase(name: str, table: PhaseTable) -> Phase:
    return Phase(
        name=name,
        title=table.title,
        models=tuple(table.models),
        prompts=tuple(table.prompts),
        difficulties=tuple(table.difficulties),
        task_types=tuple(table.task_types) if table.task_types is not None else None,
        instances=table.instances,
        tool_success_rates=tuple(table.tool_success_rates),
        order=PhaseOrder(table.order),
        groups=tuple(tuple(group) for group in table.groups or ()),
        stagger_s=table.stagger_s,
        shard_order=ShardOrder(table.shard_order),
        policy=POLICY_LETTERS.get(table.policy, table.policy),
    )
