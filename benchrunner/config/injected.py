"""The faults the embedded provider is to inject: from the table in phases.toml, and from words on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from benchrunner.config.faults import Faults
from benchrunner.config.schema import OUTAGE, FaultTable
from benchrunner.config.settings import Config
from benchrunner.errors import UsageError, did_you_mean
from benchrunner.records import InjectedFaults, KeyOutage

NAMES = tuple(field.name for field in fields(InjectedFaults))


def injected_faults(table: FaultTable | None) -> InjectedFaults:
    """Return what a valid `[simulator.faults]` table says; None: nothing."""
    if table is None:
        return InjectedFaults()
    values = table.model_dump()
    return InjectedFaults(**(values | {"key_dies": _outage(values["key_dies"])}))


def _outage(text: str | None) -> KeyOutage | None:
    found = OUTAGE.fullmatch(text or "")
    if found is None:
        return None
    last = found["last"]
    return KeyOutage(key_id=found["key"], from_min=float(found["first"]), to_min=float(last) if last else None)


def stored_faults(stored: dict[str, Any] | None) -> InjectedFaults:
    """Return the faults as a run's snapshot keeps them; None: it was made before there were any."""
    values = dict(stored or {})
    outage = values.pop("key_dies", None)
    return InjectedFaults(**values, key_dies=KeyOutage(**outage) if outage is not None else None)


def with_faults(config: Config, words: Sequence[str]) -> Config:
    """Return the config with faults such as "reset=0.02" put over its own. Raises UsageError for what is none."""
    if not words:
        return config
    if config.run.backend == "live":
        raise UsageError("--fault is for the embedded provider; it does not go with --live")
    raw: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name not in NAMES:
            raise UsageError(f'no fault "{name}"; {did_you_mean(name, NAMES)}')
        if not equals:
            raise UsageError(f'--fault {word}: needs a value, such as "{name}={_sample(name)}"')
        raw[name] = value if name == "key_dies" else _number(value, name)
    faults = Faults()
    table = faults.validated(FaultTable, raw, "--fault")
    if table is None or faults.sentences:
        raise UsageError("; ".join(faults.sentences))
    asked = injected_faults(table)
    check_outage(asked, tuple(key.key_id for key in config.keys), "--fault", faults)
    if faults.sentences:
        raise UsageError("; ".join(faults.sentences))
    changes = {name: value for name in NAMES if (value := getattr(asked, name)) is not None}
    simulator = replace(config.simulator, faults=replace(config.simulator.faults, **changes))
    return replace(config, simulator=simulator)


def check_outage(asked: InjectedFaults, key_ids: Sequence[str], where: str, faults: Faults) -> None:
    """Note a dying key that no provider has."""
    if asked.key_dies is not None and asked.key_dies.key_id not in key_ids:
        faults.unknown(where, "key_dies", asked.key_dies.key_id, "key", key_ids)


def _number(value: str, name: str) -> float | int:
    try:
        return int(value) if name == "azure_window" else float(value)
    except ValueError:
        raise UsageError(f'--fault {name}={value}: needs a number, such as "{name}={_sample(name)}"') from None


def _sample(name: str) -> str:
    return {"key_dies": "key1@1-3", "throttle_bucket": "1.2", "azure_window": "400000"}.get(name, "0.02")
