"""What a run keeps of its configuration: canonical JSON and its hash, both without secrets and machine paths."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

import orjson

from benchrunner.config.settings import Config
from benchrunner.records import Phase


def config_json(config: Config, phase: Phase | None = None, *, suite_version: str = "") -> str:
    """Return the configuration as canonical JSON text: sorted keys, no secret, no path of this machine.

    With `phase`, only that phase and what serves its models; the phase is taken as given, so that one with another
    number of instances or fewer models is kept as it ran. `suite_version` is kept with it: scores of two versions of a
    suite do not compare.
    """
    phases = config.phases if phase is None else (phase,)
    names = {name for one in phases for name in one.models}
    models = tuple(model for model in config.models if model.name in names)
    providers = {model.provider for model in models}
    run = asdict(config.run)
    tasks = config.run.tasks
    run |= {"tasks": tasks.name if tasks is not None else None, "suite_version": suite_version}
    content: dict[str, object] = {
        "run": {key: value for key, value in run.items() if key not in ("db", "env_file")},
        "simulator": asdict(config.simulator),
        "providers": [asdict(one) for one in config.providers if one.name in providers],
        "keys": [asdict(one) for one in config.keys if one.provider in providers],
        "models": [asdict(one) for one in models],
        "simulated": {name: asdict(one) for name, one in config.simulated.items() if name in names},
        "phases": [asdict(one) for one in phases],
    }
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode()


def config_hash(config: Config, phase: Phase | None = None, *, suite_version: str = "") -> str:
    """Return the SHA-256 of `config_json` as hex: equal for two runs that were told the same."""
    return hashlib.sha256(config_json(config, phase, suite_version=suite_version).encode()).hexdigest()
